"""`robot-learning reward label --uncertain FOLDER`: answers to the pictures that a reward model was least sure of."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from robot_learning.rewards import LabelError, QuestionBook
from robot_learning.training.reward_labels import ANSWERS, turned
from robot_learning.training.uncertain import (
    ANSWERED,
    PictureAnswer,
    Wanted,
    add_picture_answers,
    read_picture_answers,
    read_wanted,
)
from robot_learning.training.uncertain_page import write_label_page

PAGE = "label.html"


@dataclass(frozen=True)
class Given:
    """What a person gave: a file of answers, or one answer to a picture (its own question where none is given)."""

    csv: Path | None = None
    picture: str | None = None
    question: str | None = None
    answer: str = "yes"


def label_uncertain(root: Path, book: QuestionBook, given: Given, questions: Path | None = None) -> None:
    """Add answers, make the page to look at, and print what is asked and answered; `questions` is the book's file.

    Raises:
        LabelError: an answer is not to a picture of the folder. QuestionError: a question is not known.
    """
    wanted = {w.picture: w for w in read_wanted(root)}
    console = Console(highlight=False, soft_wrap=True, markup=False)  # a question may have brackets in it
    added = [_known(answer, wanted, book, root) for answer in _answers(given, wanted)]
    if added:
        console.print(f"{add_picture_answers(root, added)}: {len(added)} answers added")
    page = write_label_page(root, book.texts, root / PAGE, questions)
    console.print(_table(list(wanted.values()), read_picture_answers(root / ANSWERED)))
    console.print(f"Look at the pictures and answer on {page}")
    flags = ["--uncertain", str(root), *([] if questions is None else ["--questions", str(questions)])]
    console.print(f"Learn from them: robot-learning reward train --dataset DATASET {shlex.join(flags)}")


def _answers(given: Given, wanted: dict[str, Wanted]) -> list[PictureAnswer]:
    found: list[PictureAnswer] = []
    if given.csv is not None:
        if not given.csv.is_file():
            raise LabelError(f"--csv: expected a file of answers, found no file {given.csv}")
        found += read_picture_answers(given.csv)
    if given.picture is None:
        if given.question is not None:
            raise LabelError("one answer: expected --picture with --question, found --question alone")
        return found
    own = wanted[given.picture].question if given.picture in wanted else ""
    return [*found, PictureAnswer(given.picture, given.question or own, ANSWERS[given.answer])]


def _known(answer: PictureAnswer, wanted: dict[str, Wanted], book: QuestionBook, root: Path) -> PictureAnswer:
    """In the canonical wording; an answer to a negated question is turned round."""
    if answer.picture not in wanted:
        raise LabelError(f"{root}: expected one of the pictures {list(wanted)}, found {answer.picture!r}")
    match = book.match(answer.question)
    return PictureAnswer(answer.picture, book.texts[match.index], turned(answer.answer, match), answer.source)


def _table(wanted: list[Wanted], answers: list[PictureAnswer]) -> Table:
    words = {value: word for word, value in ANSWERS.items()}
    waiting = len({w.picture for w in wanted} - {a.picture for a in answers})
    table = Table("picture", "question", title=f"{waiting} of {len(wanted)} pictures wait", title_justify="left")
    table.add_column("P(yes)", justify="right")
    table.add_column("answered")
    for w in sorted(wanted, key=lambda w: w.margin):
        said = [f"{words[a.answer]}{'' if a.question == w.question else f' ({a.question})'}" for a in answers
                if a.picture == w.picture]  # fmt: skip
        table.add_row(w.picture, w.question, f"{w.probability:.2f}", ", ".join(said))
    return table
