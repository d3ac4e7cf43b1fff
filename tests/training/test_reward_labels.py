import threading
from pathlib import Path

import numpy as np
import pytest

from robot_learning.data import Dataset
from robot_learning.rewards import LabelError, QuestionBook
from robot_learning.training import reward_labels
from robot_learning.training.reward_labels import (
    FILE,
    Answer,
    add_answers,
    check_answers,
    label_matrix,
    read_answers,
    stretches,
    write_answers,
)
from tests.rewards.worlds import QUESTIONS, embed

from . import drawer_world
from .drawer_world import LENGTH, OPENED

BOOK = QuestionBook(QUESTIONS, embed)  # open, closed, red lamp
ONE = [0] * OPENED + [1] * (LENGTH - OPENED)  # whether the drawer is open in an episode


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return drawer_world.collect(tmp_path_factory.mktemp("data") / "drawer", episodes=2)


@pytest.fixture
def dataset(recorded: Path) -> Dataset:
    (recorded / FILE).unlink(missing_ok=True)
    return Dataset(recorded)


def test_the_simulator_answers_every_question(dataset: Dataset) -> None:
    labels = label_matrix(dataset, BOOK, ("simulator",))
    assert labels[:, 0].tolist() == 2 * ONE
    assert labels[:, 1].tolist() == [1 - x for x in 2 * ONE]
    assert not labels[:, 2].any()


def test_with_a_margin_just_enough_is_left_out_and_no_stays_no(dataset: Dataset) -> None:
    opened = dataset.column("observation.environment_state")[:, 0]
    spare = float(opened.max()) - 0.12  # [m] beyond where the drawer counts as open
    assert label_matrix(dataset, BOOK, ("simulator",), margin=0.8 * spare)[:, 0].tolist() == 2 * ONE
    assert label_matrix(dataset, BOOK, ("simulator",), margin=1.2 * spare)[:, 0].tolist() == [-x for x in 2 * ONE]


def test_a_margin_and_a_tolerance_exclude_each_other(dataset: Dataset) -> None:
    with pytest.raises(LabelError, match="found both"):
        label_matrix(dataset, BOOK, tolerance=0.01, margin=0.01)


def test_success_is_about_the_next_picture(dataset: Dataset) -> None:
    """So the first picture of an episode has no label, and the drawer is open in those where it is seen open."""
    labels = label_matrix(dataset, BOOK, ("success",))
    assert labels[:, 0].tolist() == 2 * [-1, *ONE[1:]]
    assert (labels[:, 1:] == -1).all()


def test_a_file_overrides_the_simulator(dataset: Dataset) -> None:
    write_answers(
        dataset.root / FILE, [Answer(1, 1, 3, "is the red light on?", 1), Answer(0, 0, None, QUESTIONS[0].text, -1)]
    )
    labels = label_matrix(dataset, BOOK)
    assert labels[LENGTH:, 2].tolist() == [0, 1, 1, 0, 0, 0]
    assert (labels[:LENGTH, 0] == -1).all()


def test_later_lines_override_earlier_ones(dataset: Dataset) -> None:
    text = QUESTIONS[2].text
    write_answers(dataset.root / FILE, [Answer(0, 0, None, text, 0), Answer(0, 4, 5, text, 1)])
    assert label_matrix(dataset, BOOK, ("file",))[:LENGTH, 2].tolist() == [0, 0, 0, 0, 1, 0]


def test_lines_of_other_questions_are_left_alone(dataset: Dataset) -> None:
    write_answers(dataset.root / FILE, [Answer(0, 0, None, "is the cup full?", 1)])
    assert (label_matrix(dataset, BOOK, ("file",)) == -1).all()


def test_answers_survive_the_file(tmp_path: Path) -> None:
    answers = [
        Answer(0, 0, 4, 'is it "open", at last?', 1),
        Answer(3, 7, None, "b", 0, "simulator"),
        Answer(1, 2, 3, "c", -1),
    ]
    write_answers(tmp_path / FILE, answers)
    assert read_answers(tmp_path / FILE) == answers


def test_labels_become_stretches_and_labels_again(dataset: Dataset) -> None:
    labels = label_matrix(dataset, BOOK, ("simulator",))
    found = stretches(dataset, labels, BOOK, "simulator")
    assert len(found) == 2 * (2 + 2 + 1)
    write_answers(dataset.root / FILE, found)
    np.testing.assert_array_equal(label_matrix(dataset, BOOK, ("file",)), labels)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0,0,3,q,perhaps", r"line 2: answer: expected one of \['yes', 'no', 'unknown'\]"),
        ("0,zero,3,q,yes", "line 2: expected whole numbers"),
        (",0,3,q,yes", "line 2: expected whole numbers"),
    ],
)
def test_a_malformed_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / FILE).write_text(f"episode,from,to,question,answer\n{line}\n")
    with pytest.raises(LabelError, match=message):
        read_answers(tmp_path / FILE)


def test_missing_columns_are_named(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("episode,question\n")
    with pytest.raises(LabelError, match=r"\['from', 'to', 'answer'\] missing"):
        read_answers(tmp_path / FILE)


@pytest.mark.parametrize(
    ("answer", "message"),
    [(Answer(2, 0, 1, "q", 1), "from 0 to 1, found 2"), (Answer(0, 4, 9, "q", 1), "frames 0 to 5, found 4 to 9"),
     (Answer(0, 3, 3, "q", 1), "found 3 to 3")],
)  # fmt: skip
def test_labels_of_another_dataset_are_refused(dataset: Dataset, answer: Answer, message: str) -> None:
    with pytest.raises(LabelError, match=message):
        check_answers([answer], dataset)


def test_an_unknown_source_is_refused(dataset: Dataset) -> None:
    with pytest.raises(LabelError, match=r"found \['oracle'\]"):
        label_matrix(dataset, BOOK, ("oracle",))


def test_a_line_that_asks_with_not_is_turned_round(dataset: Dataset) -> None:
    write_answers(dataset.root / FILE, [Answer(0, 0, None, "Isn't the red lamp lit?", 1)])
    assert (label_matrix(dataset, BOOK, ("file",))[:LENGTH, 2] == 0).all()


@pytest.mark.parametrize(
    "text", ["episode,from,to,question,answer\n0,0,,\u00e9?,yes\n".encode("latin-1"), b"\xff\xfee\0p\0"]
)
def test_a_spreadsheet_s_other_encoding_is_named(tmp_path: Path, text: bytes) -> None:
    (tmp_path / FILE).write_bytes(text)
    with pytest.raises(LabelError, match=f"{FILE}: expected a CSV file in UTF-8"):
        read_answers(tmp_path / FILE)


def test_a_line_without_an_end_to_its_quotes_is_named(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(f'episode,from,to,question,answer\n0,0,,"{"q" * 200_000}')
    with pytest.raises(LabelError, match="expected a CSV file"):
        read_answers(tmp_path / FILE)


def test_answers_of_two_people_at_once_are_all_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine, yours = Answer(0, 0, None, "a", 1), Answer(0, 0, None, "b", 0)
    other = threading.Thread(target=add_answers, args=(tmp_path / FILE, [yours]))

    def meanwhile(path: Path) -> list[Answer]:
        found = read_answers(path)
        if threading.current_thread() is not other:
            other.start()
            other.join(0.3)  # as long as it would take it, were it not to wait
        return found

    monkeypatch.setattr(reward_labels, "read_answers", meanwhile)
    add_answers(tmp_path / FILE, [mine])
    other.join()
    assert read_answers(tmp_path / FILE) == [mine, yours]
