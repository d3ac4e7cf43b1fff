from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from robot_learning.contract import Contract
from robot_learning.data import Dataset, DatasetError, DatasetWriter
from robot_learning.data.episode import Segment
from robot_learning.data.view import GAP, LABEL, ROW_GAP, TITLE, moments, rows_of, spread, view


def test_page_and_a_sheet_per_task_with_the_cameras_one_under_the_other(root: Path, tmp_path: Path) -> None:
    page = view(Dataset(root), tmp_path / "view", cameras=("front", "observation.images.wrist"), columns=4, height=48)
    text = page.read_text()
    assert "open the drawer" in text and "2 of 2 times with success" in text and "0 of 1 times with success" in text
    names = sorted(path.name for path in (tmp_path / "view").glob("*.png"))
    assert names == ["task_00.png", "task_01.png"]
    assert all(name in text for name in names)
    with Image.open(tmp_path / "view/task_00.png") as sheet:
        assert sheet.size == (LABEL + 4 * (48 + GAP), TITLE + 2 * (2 * (48 + GAP) + ROW_GAP))


def test_sheet_shows_the_frames(root: Path, tmp_path: Path) -> None:
    dataset = Dataset(root)
    view(dataset, tmp_path / "view", cameras=("front",), columns=3, height=32)
    with Image.open(tmp_path / "view/task_01.png") as sheet:
        pixels = np.asarray(sheet)
    for column, index in enumerate((8, 10, 12)):  # first, middle and last frame of episode 1
        left = LABEL + column * (32 + GAP)
        tile = pixels[TITLE : TITLE + 32, left : left + 32]
        np.testing.assert_array_equal(tile, dataset.images("observation.images.front", [index])[0])


def test_the_moment_of_success_takes_the_place_of_the_nearest_frame(root: Path) -> None:
    dataset = Dataset(root)
    episode = Segment(0, 0, 8, "open the drawer", True)
    dataset._columns["next.success"] = np.isin(np.arange(len(dataset)), [3, 4])[:, None]
    shown, moment = moments(dataset, episode, 3)
    assert shown.tolist() == [0, 4, 7] and moment == 1
    shown, moment = moments(dataset, replace(episode, success=False), 3)
    assert shown.tolist() == [0, 4, 7] and moment is None


def test_a_failed_stub_is_shown_where_nothing_longer_shows_the_task(root: Path, tmp_path: Path) -> None:
    text = view(Dataset(root), tmp_path / "view", columns=2, height=16).read_text()
    assert "0 of 1 times" in text  # half a second, but the only one
    assert (tmp_path / "view/task_01.png").exists()


def test_video_grid_lasts_as_long_as_the_longest_episode(root: Path, tmp_path: Path) -> None:
    view(Dataset(root), tmp_path / "view", height=32, video=True)
    with av.open(str(tmp_path / "view/task_00_front.mp4")) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(frames) == 11 + 10  # and a second of the last picture
    assert frames[0].shape == (32, 64, 3)


def test_long_segment_takes_several_rows(root: Path) -> None:
    dataset = Dataset(root)
    rows = rows_of(dataset, dataset.segments[1:], row_seconds=0.6)
    assert [(row.episode, row.start, row.end) for row in rows] == [(1, 8, 13), (2, 13, 18), (2, 18, 24)]


@pytest.mark.parametrize(("count", "limit", "expected"), [(3, 8, [0, 1, 2]), (9, 3, [0, 4, 8])])
def test_spread(count: int, limit: int, expected: list[int]) -> None:
    assert spread(count, limit) == expected


def test_unknown_camera_lists_the_valid_ones(root: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"front.*wrist.*'side'"):
        view(Dataset(root), tmp_path / "view", cameras=("side",))


def test_empty_dataset(tmp_path: Path, contract: Contract) -> None:
    DatasetWriter.create(tmp_path / "d", contract).close()
    with pytest.raises(DatasetError, match="found none"):
        view(Dataset(tmp_path / "d"), tmp_path / "view")
