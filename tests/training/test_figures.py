import base64
import io
from pathlib import Path

import numpy as np
from PIL import Image

from robot_learning.training import figures
from robot_learning.training.practice_log import Entry
from robot_learning.training.practice_schedule import PERSON
from robot_learning.training.videos import write_video


def test_jpeg_holds_the_picture() -> None:
    picture = np.full((20, 30, 3), (200, 40, 90), np.uint8)
    decoded = Image.open(io.BytesIO(base64.b64decode(figures.jpeg(picture).split(",")[1])))
    assert np.abs(np.asarray(decoded).astype(int) - picture).max() < 6


def test_poster_is_two_thirds_into_the_video(tmp_path: Path) -> None:
    frames = np.stack([np.full((48, 64, 3), value, np.uint8) for value in range(0, 240, 40)])
    assert abs(float(figures.poster(write_video(tmp_path / "v.mp4", frames, 10.0)).mean()) - 160) < 6


def test_contact_sheet_shows_first_and_last_picture() -> None:
    episode = np.stack([np.full((8, 8, 3), value, np.uint8) for value in range(0, 100, 10)])
    sheet = figures.contact_sheet([episode], columns=4, side=8, gap=2)
    assert sheet.shape == (8, 38, 3)
    assert sheet[0, 0, 0] == 0 and sheet[0, -1, 0] == 90


def test_contact_sheet_of_an_episode_shorter_than_its_columns() -> None:
    assert figures.contact_sheet([np.zeros((1, 8, 8, 3), np.uint8)], columns=4, side=8, gap=0).shape == (8, 32, 3)


def test_success_of_practice_is_over_the_last_episodes() -> None:
    assert figures._recent([True, False, False, True], 2) == [100.0, 50.0, 0.0, 50.0]


def test_practice_marks_help_and_new_policies() -> None:
    entries = [Entry("open", True, 40, round="0"), Entry("close", False, 90, before=PERSON, round="1")]
    text = figures.practice(entries)
    assert text.startswith("<svg") and text.count("asked for help") and "open" in text and "close" in text


def test_interval_bar_puts_rate_and_whisker_to_scale() -> None:
    bar = figures.interval_bar(0.5, (0.4, 0.6), "open")
    assert 'class="fill" width="500.0"' in bar and 'x="400.0" y="20" width="200.0"' in bar
