"""Answers to yes/no questions for the frames of a dataset: from its own success, from the simulator's state, and from people.

People's answers are in `labels.csv` in the dataset's folder, one stretch of an episode a line:

    episode,from,to,question,answer,source
    0,0,41,is the drawer open?,no,person
    0,41,,is the drawer open?,yes,person

Frames `from` to `to` (exclusive; to the end of the episode when empty); `answer` is yes, no or unknown; a later line
overrides an earlier one. A picture shows what is before the action of its frame, so `next.success` of a frame is about
the next one's picture.
"""

from __future__ import annotations

import contextlib
import csv
import fcntl
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from robot_learning.contract import ENVIRONMENT_STATE, STATE
from robot_learning.data import Dataset
from robot_learning.data.files import write_atomic
from robot_learning.envs.recorded_room import RecordedRoom
from robot_learning.envs.tasks import TASKS
from robot_learning.rewards import LabelError, QuestionBook
from robot_learning.rewards.metrics import UNKNOWN
from robot_learning.rewards.questions import Match, simplify

FILE = "labels.csv"
COLUMNS = ("episode", "from", "to", "question", "answer", "source")
ANSWERS = {"yes": 1, "no": 0, "unknown": UNKNOWN}
SOURCES = ("success", "simulator", "file")  # each overrides those before it
REACTION = 1.0  # a person says "done" up to this long after it was [s]


@dataclass(frozen=True)
class Answer:
    """The answer to a question in frames `start` to `end` (exclusive, None: to the end) of an episode: 1, 0 or -1."""

    episode: int
    start: int
    end: int | None
    question: str
    answer: int
    source: str = "person"


def read_answers(path: Path) -> list[Answer]:
    """The lines of a file of labels; none when there is no such file.

    Raises:
        LabelError: names the line and what was expected there.
    """
    return [_answer(row, where) for row, where in read_rows(path, COLUMNS, COLUMNS[:5])]


def read_rows(path: Path, columns: Sequence[str], needed: Sequence[str]) -> list[tuple[dict[str, str], str]]:
    """The rows of a CSV file by column, each with its file and line for an error; none when there is no such file.

    Raises:
        LabelError: it is no such file, or lacks a column that is needed.
    """
    if not path.is_file():
        return []
    try:
        rows = csv.DictReader(io.StringIO(path.read_text(encoding="utf-8-sig"), newline=""))
        missing = [name for name in needed if name not in (rows.fieldnames or ())]
        if missing:
            raise LabelError(
                f"{path}: expected the columns {','.join(columns)}, found {rows.fieldnames}; {missing} missing"
            )
        return [(row, f"{path}, line {rows.line_num}") for row in rows]
    except (UnicodeDecodeError, csv.Error) as error:
        raise LabelError(
            f"{path}: expected a CSV file in UTF-8, found another ({error}). Save it anew, as 'CSV UTF-8' in a spreadsheet"
        ) from error


def _answer(row: dict[str, str], where: str) -> Answer:
    answer = (row["answer"] or "").strip().lower()
    if answer not in ANSWERS:
        raise LabelError(f"{where}: answer: expected one of {list(ANSWERS)}, found {row['answer']!r}")
    try:
        end = (row["to"] or "").strip()
        numbers = int(row["episode"]), int(row["from"] or 0), int(end) if end else None
    except (TypeError, ValueError):
        found = [row["episode"], row["from"], row["to"]]
        raise LabelError(f"{where}: expected whole numbers for episode, from and to, found {found}") from None
    return Answer(*numbers, (row["question"] or "").strip(), ANSWERS[answer], (row.get("source") or "person").strip())


def add_answers(path: Path, added: Sequence[Answer]) -> None:
    """Write answers behind those there are. Raises `LabelError`: what is there is damaged."""
    with adding_to(path):
        write_answers(path, [*read_answers(path), *added])


@contextlib.contextmanager
def adding_to(path: Path) -> Iterator[None]:
    """Waits until nobody else adds to a file of answers, lest those of one of two people be lost."""
    with open(path.with_name(f".{path.name}.lock"), "w") as lock:
        with contextlib.suppress(OSError):  # some network drives have no locks
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def write_answers(path: Path, answers: Iterable[Answer]) -> None:
    """Write a file of labels, the old one replaced at once."""
    words = {value: word for word, value in ANSWERS.items()}
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(COLUMNS)
    for a in answers:
        rows.writerow([a.episode, a.start, "" if a.end is None else a.end, a.question, words[a.answer], a.source])

    def write(partial: Path) -> None:
        partial.write_text(text.getvalue(), encoding="utf-8")

    write_atomic(path, write)


def check_answers(answers: Iterable[Answer], dataset: Dataset) -> None:
    """Raises `LabelError` when a stretch is not inside an episode of the dataset."""
    lengths = np.diff(dataset.episode_ranges, axis=1).reshape(-1)
    for a in answers:
        if not 0 <= a.episode < len(lengths):
            raise LabelError(f"{dataset.root}: expected an episode from 0 to {len(lengths) - 1}, found {a.episode}")
        end = lengths[a.episode] if a.end is None else a.end
        if not 0 <= a.start < end <= lengths[a.episode]:
            raise LabelError(
                f"{dataset.root}: episode {a.episode} has frames 0 to {lengths[a.episode] - 1}, found {a.start} to {a.end} "
                f"({a.question!r}); the labels may be of another dataset, or episodes were renumbered by a repair"
            )


def label_matrix(
    dataset: Dataset,
    book: QuestionBook,
    sources: Sequence[str] = SOURCES,
    tolerance: float = 0.0,
    margin: float = 0.0,
) -> np.ndarray:
    """The answers `(N, Q)` int8 to the questions of `book`: 1 yes, 0 no, -1 unknown.

    Of the simulator's answers, those are unknown that would turn were things `tolerance` [m] elsewhere; with a `margin` [m]
    instead, only those of them that are yes: what is clearly a yes is to be told from every no.

    Raises:
        LabelError: an unknown source, a tolerance and a margin, or a file of labels that does not fit the dataset.
    """
    if tolerance and margin:
        raise LabelError(
            f"expected a tolerance or a margin, found both ({tolerance:g} m and {margin:g} m); leave one out"
        )
    unknown = [source for source in sources if source not in SOURCES]
    if unknown:
        raise LabelError(f"sources of labels: expected some of {list(SOURCES)}, found {unknown}")
    labels = np.full((dataset.num_frames, len(book.questions)), UNKNOWN, np.int8)
    if "success" in sources:
        _from_success(labels, dataset, book)
    if "simulator" in sources:
        _from_simulator(labels, dataset, book, tolerance, margin)
    if "file" in sources:
        _from_file(labels, dataset, book)
    return labels


def playroom_questions(book: QuestionBook) -> dict[int, str]:
    """The tasks of the playroom whose question is in the book, by the question's number."""
    numbers = {simplify(wording): int(q) for wording, q in zip(book.wordings, book.owner, strict=True)}
    asked = {numbers.get(simplify(task.question)): name for name, task in TASKS.items()}
    return {number: name for number, name in asked.items() if number is not None}


def _from_success(labels: np.ndarray, dataset: Dataset, book: QuestionBook) -> None:
    """`next.success` answers the question of the frame's own task; a verdict at the end says little about just before."""
    if "next.success" not in dataset.features:
        return
    questions = {TASKS[name].instruction: q for q, name in playroom_questions(book).items()}
    own = np.array([questions.get(task, -1) for task in dataset.tasks] or [-1])[dataset.column("task_index")]
    solved = dataset.column("next.success").reshape(-1).astype(np.int8)
    reaction = 0 if ENVIRONMENT_STATE in dataset.features else round(REACTION * dataset.fps)
    for start, end in dataset.episode_ranges.tolist():
        shown = np.full(end - start, UNKNOWN, np.int8)
        shown[1:] = np.where(own[start : end - 1] == own[start + 1 : end], solved[start : end - 1], UNKNOWN)
        for rise in np.flatnonzero((shown[1:] == 1) & (shown[:-1] != 1)) + 1:
            shown[max(0, rise - reaction) : rise] = UNKNOWN
        rows = np.flatnonzero((own[start:end] >= 0) & (shown != UNKNOWN)) + start
        labels[rows, own[rows]] = shown[rows - start]


def _from_simulator(labels: np.ndarray, dataset: Dataset, book: QuestionBook, tolerance: float, margin: float) -> None:
    """Every question of the playroom, for every frame whose object state was recorded."""
    contract = dataset.contract
    questions = playroom_questions(book)
    if contract is None or contract.simulation is None or not questions:
        return
    if ENVIRONMENT_STATE not in dataset.features or STATE not in dataset.features:
        return
    room = RecordedRoom(contract)
    states, objects = dataset.column(STATE), dataset.column(ENVIRONMENT_STATE)
    answers = room.answers(states, objects, list(questions.values()), tolerance or margin)
    if margin:
        plain = room.answers(states, objects, list(questions.values()), 0.0)
        answers = np.where(plain == 0, plain, answers)
    labels[:, list(questions)] = answers


def _from_file(labels: np.ndarray, dataset: Dataset, book: QuestionBook) -> None:
    answers = read_answers(dataset.root / FILE)
    check_answers(answers, dataset)
    for a in answers:
        match = book.exact(a.question)
        if match is None:
            continue  # of a question that this model is not asked
        start, end = dataset.episode_ranges[a.episode]
        labels[start + a.start : end if a.end is None else start + a.end, match.index] = turned(a.answer, match)


def turned(answer: int, match: Match) -> int:
    """The answer to a question as that to the known question it asks, turned round where it says "not"."""
    return 1 - answer if match.negated and answer != UNKNOWN else answer


def stretches(dataset: Dataset, labels: np.ndarray, book: QuestionBook, source: str) -> list[Answer]:
    """A matrix of labels as lines of a file, frames with the same answer joined; unknown ones are left out."""
    found = []
    for episode, (start, end) in enumerate(dataset.episode_ranges.tolist()):
        for number, text in enumerate(book.texts):
            column = labels[start:end, number]
            cuts = [0, *(np.flatnonzero(np.diff(column)) + 1).tolist(), end - start]
            found += [
                Answer(episode, a, b, text, int(column[a]), source) for a, b in pairwise(cuts) if column[a] != UNKNOWN
            ]
    return found
