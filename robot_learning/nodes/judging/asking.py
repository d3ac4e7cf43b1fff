"""What a reward model is asked, and what it looks at: a question in its words, its cameras in the contract."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from robot_learning.contract import IMAGE_PREFIX, Contract
from robot_learning.envs.tasks import TASKS
from robot_learning.errors import UserError
from robot_learning.nodes.parameters import ParameterError
from robot_learning.rewards import EmbeddedReward, QuestionError, RewardModel

OPPOSITES = {task.question: TASKS[task.reverse].question for task in TASKS.values() if task.reverse}
"""Of each question that of the task which undoes it."""


class NoAnswerError(UserError, ValueError):
    """What the model answers is no probability."""


@dataclass(frozen=True)
class Asked:
    """A question as the model is asked it.

    Attributes:
        question: in the model's words. turned: whether the answer must be turned round ("is it not ...?").
        threshold: of the turned P(yes), from which on the answer is yes.
    """

    question: str
    turned: bool
    threshold: float


def asked(model: RewardModel, question: str) -> Asked:
    """How `model` is asked a question, in any wording.

    Raises:
        QuestionError: the model cannot be asked it; lists what it can.
    """
    book = getattr(model, "book", None)
    if book is not None:
        try:
            match = book.match(question)
        except QuestionError:
            if isinstance(model, EmbeddedReward):  # it knows nothing else; a language model can be asked anything
                raise
        else:
            threshold = 1.0 - model.no_threshold if match.negated else model.threshold
            return Asked(book.texts[match.index], match.negated, threshold)
    return Asked(question, False, model.threshold)


def probability(model: RewardModel, images: dict[str, np.ndarray], way: Asked) -> float:
    """P(yes), turned where the question is; at most what the opposite leaves where the model says yes to that as well.

    A picture in which a task and the one that undoes it both seem to be done shows neither: a block that leans in the drawer's
    front was taken for in it and for out of it. Tasks and their opposites are the playroom's.

    Raises:
        NoAnswerError: the model's answer is no number, which would pass for a "no".
    """
    p = float(model.probability(images, way.question))
    if math.isnan(p):
        raise NoAnswerError(
            f"reward model: expected a P(yes) from 0 to 1 of {way.question!r}, found {p}; its weights or its calibration are "
            "damaged, copy or train it again"
        )
    if way.turned:
        return 1.0 - p
    opposite = OPPOSITES.get(way.question, "")
    if p >= way.threshold and opposite in model.questions:
        against = float(model.probability(images, opposite))
        if against >= model.threshold:
            return min(p, 1.0 - against)
    return p


def eyes_of(contract: Contract, model: RewardModel, max_age: float = 0.0) -> Contract:
    """The contract of the pictures that the model looks at; `max_age` [s] instead of that of their streams, unless 0.

    Raises:
        ParameterError: the robot lacks one of its cameras.
    """
    there = [key.removeprefix(IMAGE_PREFIX) for key in contract.images]
    missing = [camera for camera in model.cameras if camera not in there]
    if missing:
        raise ParameterError(
            f"reward: the model looks through the cameras {list(model.cameras)}; the contract {contract.name!r} has "
            f"{there or 'none'}, {missing} missing. Add them to the contract, or train with --cameras {' '.join(there)}"
        )
    eyes = contract.select([IMAGE_PREFIX + camera for camera in model.cameras])
    if max_age:
        for key, stream in eyes.observation.items():
            eyes = eyes.with_stream(key, replace(stream, max_age=max_age))
    return eyes
