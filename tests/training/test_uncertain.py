"""The folder of pictures that a reward model was unsure of: what is kept, what a kill leaves, and the answers."""

import html
import shlex
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from robot_learning.data.files import DatasetLockedError, DatasetWriteError
from robot_learning.rewards import LabelError, Question, QuestionBook
from robot_learning.training import uncertain
from robot_learning.training.uncertain import (
    ANSWERED,
    PICTURES,
    WANTED,
    AnsweredPictures,
    PictureAnswer,
    add_picture_answers,
    margin,
    picture_file,
    read_picture_answers,
    read_wanted,
)
from robot_learning.training.uncertain_folder import UncertainFolder
from robot_learning.training.uncertain_page import write_label_page

OPEN, CLOSED = "is the drawer open?", "is the drawer closed?"
THRESHOLD = 0.5
BOOK = QuestionBook(
    (Question(OPEN, ("is it pulled out?",)), Question(CLOSED)),
    lambda sentences: np.zeros((len(sentences), 4)),
    np.zeros((3, 4), np.float32),
)


def picture(level: int = 0) -> np.ndarray:
    return np.random.default_rng(level).integers(0, 255, (12, 16, 3), np.uint8)


@pytest.fixture
def folder(tmp_path: Path):
    made = UncertainFolder(tmp_path / "wanted", limit=6, per_episode=3)
    yield made
    made.close()


def offer(folder: UncertainFolder, at: float, probability: float, **options: bool) -> bool:
    images = {"observation.images.front": picture(round(at))}
    return folder.offer(at, images, OPEN, probability, THRESHOLD, **options)


def kept(folder: UncertainFolder) -> list[float]:
    """P(yes) of what is on the disk, each with its picture."""
    wanted = read_wanted(folder.root)
    files = {file.name for file in (folder.root / PICTURES).iterdir()}
    assert files == {f"{w.picture}.front.png" for w in wanted}
    return [w.probability for w in wanted]


def test_a_picture_and_its_line_are_kept(folder: UncertainFolder) -> None:
    assert offer(folder, 5.0, 0.6)
    (wanted,) = read_wanted(folder.root)
    assert (wanted.question, wanted.probability, wanted.threshold, wanted.cameras) == (OPEN, 0.6, 0.5, ("front",))
    add_picture_answers(folder.root, [PictureAnswer(wanted.picture, OPEN, 1)])
    np.testing.assert_array_equal(AnsweredPictures(folder.root, BOOK).images("front", [0])[0], picture(5))


def test_what_it_was_sure_of_is_not_kept(folder: UncertainFolder) -> None:
    assert not offer(folder, 0.0, 0.99)
    assert not offer(folder, 0.0, 0.01)
    assert kept(folder) == []


def test_a_person_s_contradiction_is_kept_however_sure_it_was(folder: UncertainFolder) -> None:
    assert offer(folder, 0.0, 0.99, disputed=True)


def test_the_distance_is_that_of_log_odds() -> None:
    assert margin(0.5, 0.9) == pytest.approx(2.197, abs=1e-3)
    assert margin(0.998, 0.9) > margin(0.5, 0.9)


def test_of_frames_near_in_time_the_least_sure_is_kept(folder: UncertainFolder) -> None:
    for at, p in ((0.0, 0.7), (0.4, 0.6), (0.8, 0.8), (1.1, 0.55)):
        offer(folder, at, p)
    assert kept(folder) == [0.55]


def test_of_an_episode_the_least_sure_are_kept(folder: UncertainFolder) -> None:
    for second, p in enumerate((0.9, 0.6, 0.8, 0.7, 0.55)):
        offer(folder, 2.0 * second, p)
    assert kept(folder) == [0.6, 0.7, 0.55]


def test_of_all_episodes_the_least_sure_are_kept(folder: UncertainFolder) -> None:
    for second, p in enumerate((0.8, 0.81, 0.82, 0.6, 0.61, 0.62, 0.7, 0.9)):
        if second % 3 == 0:
            folder.new_episode()
        offer(folder, 2.0 * second, p)
    assert kept(folder) == [0.8, 0.81, 0.6, 0.61, 0.62, 0.7]


def test_answered_pictures_stay_and_make_room(folder: UncertainFolder) -> None:
    folder.limit = 1
    offer(folder, 0.0, 0.9)
    add_picture_answers(folder.root, [PictureAnswer(read_wanted(folder.root)[0].picture, OPEN, 1)])
    folder.new_episode()
    offer(folder, 2.0, 0.6)
    assert kept(folder) == [0.9, 0.6]
    assert [w.probability for w in folder.waiting] == [0.6]


def test_it_is_gone_on_with(folder: UncertainFolder) -> None:
    offer(folder, 0.0, 0.6)
    folder.close()
    again = UncertainFolder(folder.root, limit=6, per_episode=3)
    offer(again, 0.0, 0.7)
    assert kept(again) == [0.6, 0.7]
    again.close()


def test_a_second_writer_is_refused(folder: UncertainFolder) -> None:
    with pytest.raises(DatasetLockedError):
        UncertainFolder(folder.root, limit=6, per_episode=3)


WRITER = """
import sys, numpy as np
from pathlib import Path
from robot_learning.training.uncertain_folder import UncertainFolder
folder = UncertainFolder(Path(sys.argv[1]), 8, 8)
for n in range(100_000):
    folder.new_episode()
    p = 0.5 + 0.4 / (1 + n % 50)
    folder.offer(float(n), {"front": np.full((40, 40, 3), n % 255, np.uint8)}, "is it?", p, 0.5)
"""


def test_a_kill_leaves_every_line_with_its_picture(tmp_path: Path) -> None:
    root = tmp_path / "wanted"
    for _ in range(3):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(root)])
        count = len(list((root / PICTURES).glob("*.png"))) if root.exists() else 0
        seen: set[str] = set()
        deadline = time.monotonic() + 60
        while len(seen) < count + 12 and time.monotonic() < deadline and writer.poll() is None:
            seen |= {w.picture for w in read_wanted(root)} if (root / WANTED).exists() else set()
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        assert len(seen) >= 8
        wanted = read_wanted(root)
        assert all(picture_file(root, w.picture, "front").is_file() for w in wanted)
    folder = UncertainFolder(root, 8, 8)
    assert len(list((root / PICTURES).iterdir())) == len(wanted)
    folder.close()


def test_answers_become_labels(folder: UncertainFolder) -> None:
    for second in (0, 2, 4):
        offer(folder, float(second), 0.6)
    first, second, _ = (w.picture for w in read_wanted(folder.root))
    given = [
        PictureAnswer(first, OPEN, 0), PictureAnswer(first, "is it pulled out?", 1), PictureAnswer(first, CLOSED, 0),
        PictureAnswer(second, "is the lamp lit?", 1), PictureAnswer("gone", OPEN, 1),
    ]  # fmt: skip
    add_picture_answers(folder.root, given)
    answered = AnsweredPictures(folder.root, BOOK)
    assert [w.picture for w in answered.wanted] == [first]
    assert answered.labels.tolist() == [[1, 0]]


def test_the_last_answer_to_a_question_holds(folder: UncertainFolder) -> None:
    for answer in (0, -1, 1):
        add_picture_answers(folder.root, [PictureAnswer("a", OPEN, answer)])
    assert read_picture_answers(folder.root / ANSWERED) == [PictureAnswer("a", OPEN, 1)]


def test_a_camera_that_did_not_see_it_is_named(folder: UncertainFolder) -> None:
    offer(folder, 0.0, 0.6)
    add_picture_answers(folder.root, [PictureAnswer(read_wanted(folder.root)[0].picture, OPEN, 1)])
    with pytest.raises(LabelError, match=r"seen by \['front'\], expected 'wrist' too"):
        AnsweredPictures(folder.root, BOOK).images("wrist", [0])


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LabelError, match=f"found no {WANTED} there"):
        read_wanted(tmp_path)


def test_an_answer_that_is_none_is_refused_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("picture,question,answer\na,is it?,perhaps\n")
    with pytest.raises(LabelError, match="line 2: answer: expected one of"):
        read_picture_answers(tmp_path / "mine.csv")


def test_the_page_shows_the_least_sure_first_and_what_is_answered(folder: UncertainFolder) -> None:
    offer(folder, 0.0, 0.8)
    offer(folder, 2.0, 0.6)
    surer, unsure = (w.picture for w in read_wanted(folder.root))
    page = write_label_page(folder.root, BOOK.texts, folder.root / "page.html").read_text()
    assert page.index(unsure) < page.index(surer)
    assert page.count("data:image/png;base64,") == 2
    assert "checked data-old" not in page
    add_picture_answers(folder.root, [PictureAnswer(unsure, OPEN, 0)])
    page = write_label_page(folder.root, BOOK.texts, folder.root / "page.html").read_text()
    assert page.index(surer) < page.index(unsure)
    assert page.count('value="no" checked data-old') == 1


def test_files_of_somebody_else_stay(tmp_path: Path) -> None:
    photo = tmp_path / PICTURES / "holiday.front.png"
    photo.parent.mkdir()
    photo.touch()
    (photo.parent / "2026").mkdir()
    UncertainFolder(tmp_path, limit=6, per_episode=3).close()
    assert photo.exists()


def test_a_place_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DatasetWriteError, match=f"{tmp_path / 'file'}: expected a folder that can be written to"):
        UncertainFolder(tmp_path / "file", limit=6, per_episode=3)


def test_a_damaged_folder_can_be_mended_and_taken_by_the_same_process(folder: UncertainFolder) -> None:
    folder.close()
    (folder.root / ANSWERED).write_bytes(b"picture,question,answer\n\xe9,?,yes\n")
    with pytest.raises(LabelError, match="in UTF-8"):
        UncertainFolder(folder.root, limit=6, per_episode=3)
    (folder.root / ANSWERED).unlink()
    UncertainFolder(folder.root, limit=6, per_episode=3).close()


def test_answers_of_two_people_at_once_are_all_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine, yours = PictureAnswer("a", OPEN, 1), PictureAnswer("b", OPEN, 0)
    other = threading.Thread(target=add_picture_answers, args=(tmp_path, [yours]))

    def meanwhile(path: Path) -> list[PictureAnswer]:
        found = read_picture_answers(path)
        if threading.current_thread() is not other:
            other.start()
            other.join(0.3)  # as long as it would take it, were it not to wait
        return found

    monkeypatch.setattr(uncertain, "read_picture_answers", meanwhile)
    add_picture_answers(tmp_path, [mine])
    other.join()
    assert read_picture_answers(tmp_path / ANSWERED) == [mine, yours]


def test_an_answer_to_a_negated_question_is_turned_round(folder: UncertainFolder) -> None:
    offer(folder, 0.0, 0.6)
    add_picture_answers(folder.root, [PictureAnswer(read_wanted(folder.root)[0].picture, "is the drawer not open?", 1)])
    assert AnsweredPictures(folder.root, BOOK).labels.tolist() == [[0, -1]]


def test_a_line_that_is_too_short_is_refused_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text('answer,question,picture\n\n\n"yes","is\nit?","a"\nno\nmaybe\n')
    with pytest.raises(LabelError, match="line 7: answer"):
        read_picture_answers(tmp_path / "mine.csv")


def test_the_command_on_the_page_can_be_pasted_whatever_the_folder_is_called(tmp_path: Path) -> None:
    root = tmp_path / "it's <mine>"
    UncertainFolder(root, limit=6, per_episode=3).close()
    page = write_label_page(root, BOOK.texts, root / "page.html").read_text()
    command = html.unescape(page.split("<code>")[1].split("</code>")[0])
    assert shlex.split(command)[4] == str(root)


def test_a_question_is_no_markup_of_the_page(folder: UncertainFolder) -> None:
    folder.offer(0.0, {"front": picture()}, 'is "it" <script>alert(1)</script>?', 0.6, 0.5)
    page = write_label_page(folder.root, ['is "that" <b>?'], folder.root / "page.html").read_text()
    assert page.count("<script>") == 1 and "<b>" not in page and 'is "' not in page
