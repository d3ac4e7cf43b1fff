"""Pictures that a reward model was least sure of, kept by the reward node for a person to answer, and the answers.

    labels_wanted.csv            picture,question,probability,threshold,cameras,time: written by the node alone
    pictures/<picture>.<camera>.png
    answers.csv                  picture,question,answer,source: written by `robot-learning reward label --uncertain` alone

Both files are replaced as a whole, and a picture is on the disk before its line, so a kill leaves at most a picture that
nobody asks for, which the next writer removes.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from robot_learning.data.files import write_atomic
from robot_learning.rewards import LabelError, QuestionBook
from robot_learning.rewards.metrics import UNKNOWN
from robot_learning.rewards.model import short_name
from robot_learning.training.reward_labels import ANSWERS, adding_to, read_rows, turned

WANTED, ANSWERED, PICTURES = "labels_wanted.csv", "answers.csv", "pictures"
COLUMNS = ("picture", "question", "probability", "threshold", "cameras", "time")
ANSWER_COLUMNS = ("picture", "question", "answer", "source")
EXTREME = 1e-4  # P(yes) is taken to be no surer than this


@dataclass(frozen=True)
class Wanted:
    """A picture that an answer is wanted for: P(yes) of `question` was `probability`; seen by `cameras` at `time` (UTC)."""

    picture: str
    question: str
    probability: float
    threshold: float
    cameras: tuple[str, ...]
    time: str

    @property
    def margin(self) -> float:
        """How sure the model was."""
        return margin(self.probability, self.threshold)


@dataclass(frozen=True)
class PictureAnswer:
    """The answer to a question about a picture: 1, 0 or -1."""

    picture: str
    question: str
    answer: int
    source: str = "person"


def margin(probability: float, threshold: float) -> float:
    """How far P(yes) is from the threshold [log-odds]: between 0.96 and 1.0 lies as much as between 0.04 and 0.96."""
    return abs(_log_odds(probability) - _log_odds(threshold))


def _log_odds(p: float) -> float:
    p = min(max(p, EXTREME), 1.0 - EXTREME)
    return math.log(p / (1.0 - p))


def read_wanted(root: Path) -> list[Wanted]:
    """What is asked for in a folder, in the order in which it came.

    Raises:
        LabelError: it is not such a folder, or its file is damaged.
    """
    path = root / WANTED
    if not path.is_file():
        raise LabelError(f"{root}: expected a folder that the reward node keeps pictures in, found no {WANTED} there")
    try:
        return [
            Wanted(r["picture"], r["question"], float(r["probability"]), float(r["threshold"]),
                   tuple(r["cameras"].split()), r["time"])
            for r in csv.DictReader(io.StringIO(path.read_text(encoding="utf-8")))
        ]  # fmt: skip
    except (KeyError, TypeError, ValueError, AttributeError, csv.Error) as error:
        raise LabelError(f"{path}: expected the columns {','.join(COLUMNS)}, found a line without ({error})") from error


def read_picture_answers(path: Path) -> list[PictureAnswer]:
    """The answers of a file; none when there is no such file. Raises `LabelError`, which names the line."""
    found = []
    for row, where in read_rows(path, ANSWER_COLUMNS, ANSWER_COLUMNS[:3]):
        answer = (row["answer"] or "").strip().lower()
        if answer not in ANSWERS:
            raise LabelError(f"{where}: answer: expected one of {list(ANSWERS)}, found {row['answer']!r}")
        source = (row.get("source") or "person").strip()
        found.append(
            PictureAnswer((row["picture"] or "").strip(), (row["question"] or "").strip(), ANSWERS[answer], source)
        )
    return found


def add_picture_answers(root: Path, added: Iterable[PictureAnswer]) -> Path:
    """Write answers behind those there are; returns the file."""
    words = {value: word for word, value in ANSWERS.items()}
    with adding_to(root / ANSWERED):
        answers = [*read_picture_answers(root / ANSWERED), *added]
        every = {(a.picture, a.question): a for a in answers}  # the last one holds
        rows = [[a.picture, a.question, words[a.answer], a.source] for a in every.values()]
        write_rows(root / ANSWERED, ANSWER_COLUMNS, rows)
    return root / ANSWERED


def write_rows(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)

    def write(partial: Path) -> None:
        partial.write_text(text.getvalue(), encoding="utf-8")

    write_atomic(path, write)


def picture_file(root: Path, picture: str, camera: str) -> Path:
    """Where the picture of a camera is."""
    return root / PICTURES / f"{picture}.{camera}.png"


class AnsweredPictures:
    """The answered pictures of a folder, with the labels `(N, Q)` int8 of a book's questions: 1 yes, 0 no, -1 unknown."""

    num_episodes = 0

    def __init__(self, root: Path, book: QuestionBook) -> None:
        self.root = root
        wanted = {w.picture: w for w in read_wanted(root)}
        rows: dict[str, np.ndarray] = {}
        for a in read_picture_answers(root / ANSWERED):
            match = book.exact(a.question)
            if a.picture in wanted and match is not None:  # pictures that were let go, questions that are not learned
                row = rows.setdefault(a.picture, np.full(len(book.questions), UNKNOWN, np.int8))
                row[match.index] = turned(a.answer, match)
        known = {picture: row for picture, row in rows.items() if (row != UNKNOWN).any()}
        self.wanted = [wanted[picture] for picture in known]
        self.labels = np.stack(list(known.values())) if known else np.zeros((0, len(book.questions)), np.int8)

    @property
    def num_frames(self) -> int:
        """How many pictures."""
        return len(self.wanted)

    def images(self, camera: str, rows: Sequence[int] | np.ndarray) -> np.ndarray:
        """Pictures `(n, H, W, 3)` uint8 of a camera, all of the first one's size.

        Raises:
            LabelError: a picture was not seen by that camera, or its file is damaged.
        """
        found = [self._image(self.wanted[int(row)], short_name(camera)) for row in rows]
        height, width = found[0].shape[:2]
        return np.stack([i if i.shape[:2] == (height, width) else cv2.resize(i, (width, height)) for i in found])

    def _image(self, wanted: Wanted, camera: str) -> np.ndarray:
        file = picture_file(self.root, wanted.picture, camera)
        if camera not in wanted.cameras:
            raise LabelError(
                f"{self.root}: {wanted.picture} is seen by {list(wanted.cameras)}, expected {camera!r} too"
            )
        image = cv2.imread(str(file), cv2.IMREAD_COLOR)
        if image is None:
            raise LabelError(f"{file}: expected a PNG picture, found none that can be read")
        return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
