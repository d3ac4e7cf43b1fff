"""Answer questions about stretches of a dataset, for a reward model to learn from (labels.csv in the dataset's folder).

    robot-learning reward label datasets/drawer                                # what is answered so far
    robot-learning reward label datasets/drawer --simulator                    # write down what the simulator knows
    robot-learning reward label datasets/real --episode 3 --start 41 --question "is the drawer open?" --answer yes
    robot-learning reward label datasets/real --csv my_labels.csv              # many at once
    robot-learning reward label --uncertain runs/uncertain                     # what the reward node was unsure of, and a page
    robot-learning reward label --uncertain runs/uncertain --picture 20260102-101500-123 --answer no

Label each stretch for every question you can: a model whose frames answer one question only is much worse.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro
from rich.console import Console
from rich.table import Table

from robot_learning.commands._uncertain import Given, label_uncertain
from robot_learning.commands.main import OK
from robot_learning.data import Dataset
from robot_learning.rewards import LabelError, QuestionBook
from robot_learning.rewards.embedded import make_book
from robot_learning.training.reward_labels import (
    ANSWERS,
    FILE,
    Answer,
    add_answers,
    check_answers,
    label_matrix,
    read_answers,
    stretches,
    turned,
)
from robot_learning.training.reward_training import known_questions


@dataclass(frozen=True)
class Config:
    """Flags of `robot-learning reward label`."""

    root: tyro.conf.Positional[Path | None] = None
    """Folder of the dataset."""
    uncertain: Path | None = None
    """Instead of a dataset: folder in which the reward node kept pictures (its parameter uncertain_folder)."""
    picture: str | None = None
    """With --uncertain, add one answer: the picture it is about, to its own question unless --question asks another."""
    questions: Path | None = None
    """YAML file of questions and their wordings; those of the playroom when absent."""
    simulator: bool = False
    """Add what the recorded state of the simulation says, for every question of the playroom."""
    csv: Path | None = None
    """Add the lines of this file (episode,from,to,question,answer; frames, `to` exclusive, empty: to the end; with --uncertain
    picture,question,answer)."""
    episode: int | None = None
    """Add one answer: the episode,"""
    start: int = 0
    """its first frame,"""
    end: int | None = None
    """the frame after its last one, the end of the episode when absent,"""
    question: str | None = None
    """the question in any wording,"""
    answer: Literal["yes", "no", "unknown"] = "yes"
    """and the answer."""


def run(config: Config) -> int:
    """Add what was given to the file, and print how much of the dataset is answered."""
    if (config.root is None) == (config.uncertain is None):
        raise LabelError("expected the folder of a dataset, or --uncertain FOLDER, one of the two")
    book = make_book(known_questions(config.questions))
    if config.uncertain is not None:
        given = Given(config.csv, config.picture, config.question, config.answer)
        label_uncertain(config.uncertain, book, given, config.questions)
        return OK
    assert config.root is not None
    dataset = Dataset(config.root)
    added = [_known(answer, book) for answer in _given(config, dataset, book)]
    check_answers(added, dataset)
    console = Console(highlight=False, soft_wrap=True, markup=False)  # a question may have brackets in it
    if added:
        add_answers(dataset.root / FILE, added)
        console.print(f"{dataset.root / FILE}: {len(added)} lines added")
    console.print(_table(dataset, book))
    return OK


def _given(config: Config, dataset: Dataset, book: QuestionBook) -> list[Answer]:
    given: list[Answer] = []
    if config.simulator:
        found = stretches(dataset, label_matrix(dataset, book, ("simulator",)), book, "simulator")
        if not found:
            raise LabelError(f"{dataset.root}: expected recorded states of the simulated playroom, found none")
        given += found
    if config.csv is not None:
        if not config.csv.is_file():
            raise LabelError(f"--csv: expected a file of labels, found no file {config.csv}")
        given += read_answers(config.csv)
    if (config.episode is None) != (config.question is None):
        raise LabelError("one answer: expected --episode and --question together, found one of them")
    if config.episode is not None and config.question is not None:
        given.append(Answer(config.episode, config.start, config.end, config.question, ANSWERS[config.answer]))
    return given


def _known(answer: Answer, book: QuestionBook) -> Answer:
    """In the canonical wording; an answer to a negated question is turned round. Raises `QuestionError`."""
    match = book.match(answer.question)
    text, said = book.texts[match.index], turned(answer.answer, match)
    return Answer(answer.episode, answer.start, answer.end, text, said, answer.source)


def _table(dataset: Dataset, book: QuestionBook) -> Table:
    table = Table("question", title=f"frames of {dataset.num_frames} that are answered", title_justify="left")
    for name in ("yes", "no", "unknown"):
        table.add_column(name, justify="right")
    labels = label_matrix(dataset, book)
    for text, counts in zip(book.texts, _counts(labels.T), strict=True):
        table.add_row(text, *map(str, counts))
    return table


def _counts(columns: Sequence[object]) -> list[tuple[int, int, int]]:
    return [tuple(int((column == value).sum()) for value in (1, 0, -1)) for column in columns]  # type: ignore[misc, attr-defined]
