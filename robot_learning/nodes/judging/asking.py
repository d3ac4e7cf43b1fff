"""What a reward model is asked, and what it looks at: a question in its words, its cameras in the contract."""

from __future__ import annotations

from dataclasses import dataclass, replace

from robot_learning.contract import IMAGE_PREFIX, Contract
from robot_learning.nodes.parameters import ParameterError
from robot_learning.rewards import EmbeddedReward, QuestionError, RewardModel


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
