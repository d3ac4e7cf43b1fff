"""Reward models that ask a large vision-language model in words: what the local one and the one on a server share.

An `Asker` is shown pictures and asked whole questions; how much likelier it finds "yes" than "no" is a logit, and a slope and
an offset, fitted on labelled frames, make that a probability (Platt 1999). Such models can be asked anything: what is no wording
of a known question is asked as it stands, with the calibration of all questions together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, NoReturn, Protocol

import numpy as np

from robot_learning.errors import UserError
from robot_learning.rewards.embedded import Calibration
from robot_learning.rewards.metrics import sigmoid
from robot_learning.rewards.model import Images, batch_of
from robot_learning.rewards.questions import Question, QuestionBook, QuestionError

PROMPT = "{question} Answer with yes or no."
PLACE = "{question}"  # what stands in a prompt for the question


class PromptError(UserError, ValueError):
    """A prompt has no place for the question."""


class Answers(NamedTuple):
    """What an asker says to B pictures and Q questions.

    Attributes:
        logits: `(B, Q)` float32, log P(yes) - log P(no).
        share: `(B, Q)` float32, P(yes) + P(no): how far the model answers in these words at all; NaN where it is not known.
    """

    logits: np.ndarray
    share: np.ndarray


class Asker(Protocol):
    """Something that looks at pictures and answers questions in words."""

    def ask(self, pictures: Sequence[np.ndarray], questions: Sequence[str]) -> Answers:
        """Answer every question for every picture; pictures `(B, H, W, 3)` uint8 for each camera, shown in that order.

        Raises:
            UserError: it cannot answer; says why and what mends it.
        """
        ...


def filled(prompt: str, question: str) -> str:
    """The prompt with the question in it. Raises `PromptError`."""
    if PLACE not in prompt:
        raise PromptError(f"prompt: expected a text with {PLACE!r}, where the question goes, found {prompt!r}")
    return prompt.replace(PLACE, question)


def plain_book(questions: Sequence[Question]) -> QuestionBook:
    """Known questions without sentence embeddings: only their own wordings are found in it."""
    wordings = [wording for question in questions for wording in question.all]

    def refuse(sentences: Sequence[str]) -> NoReturn:
        known = "\n  ".join(question.text for question in questions)
        raise QuestionError(f"question: expected a wording of one of those below, found {sentences[0]!r}\n  {known}")

    return QuestionBook(questions, refuse, np.zeros((len(wordings), 0), np.float32))


class PromptedReward:
    """A `RewardModel` that asks in words. Each question is asked by itself, so many questions take as many times longer.

    Args:
        asker: answers. cameras: short names of the cameras, in the order in which their pictures are shown.
        book: the known questions. calibration: of each of them, and the thresholds.
        other: slope and offset for all questions that are not known. facts: rows of the model card.
    """

    def __init__(
        self,
        asker: Asker,
        cameras: Sequence[str],
        book: QuestionBook,
        calibration: Calibration,
        other: tuple[float, float] = (1.0, 0.0),
        facts: dict[str, Any] | None = None,
    ) -> None:
        self.asker, self.book, self.calibration, self.other = asker, book, calibration, other
        self.facts = dict(facts or {})
        self._cameras = tuple(cameras)

    @property
    def questions(self) -> tuple[str, ...]:
        """The canonical texts."""
        return self.book.texts

    @property
    def cameras(self) -> tuple[str, ...]:
        """Short names of the cameras."""
        return self._cameras

    @property
    def threshold(self) -> float:
        """From this P(yes) on the answer is yes."""
        return self.calibration.threshold

    @property
    def no_threshold(self) -> float:
        """Up to this P(yes) the answer is no."""
        return self.calibration.no_threshold

    def probabilities(self, images: Images) -> np.ndarray:
        """P(yes) of every known question: `(Q,)`, or `(B, Q)` for batches.

        Raises:
            PictureError: as `batch_of`. UserError: the model behind it does not answer.
        """
        pictures, batched = batch_of(images, self.cameras)
        answers = self.calibration.probability(self.asker.ask(pictures, self.questions).logits)
        return answers if batched else answers[0]

    def probability(self, images: Images, question: str) -> float | np.ndarray:
        """P(yes) for any question: a float, or `(B,)`. Raises as `probabilities`, and `QuestionError` for an empty question."""
        answers, negated = self._answer(images, question)
        answers = 1 - answers if negated else answers
        return float(answers) if answers.ndim == 0 else answers

    def success(self, images: Images, question: str) -> bool | np.ndarray:
        """Whether the answer is yes, at the threshold: a bool, or `(B,)` bool. Raises as `probability`."""
        answers, negated = self._answer(images, question)
        yes = answers <= self.no_threshold if negated else answers >= self.threshold
        return bool(yes) if yes.ndim == 0 else yes

    def _answer(self, images: Images, question: str) -> tuple[np.ndarray, bool]:
        """P(yes), `()` or `(B,)`, of the question that is asked, and whether the answer must be turned round."""
        if not question.strip():
            raise QuestionError("question: expected a yes/no question about the pictures, found an empty one")
        pictures, batched = batch_of(images, self.cameras)
        known = self.book.exact(question)
        asked = question if known is None else self.questions[known.index]
        logits = self.asker.ask(pictures, [asked]).logits[:, 0].astype(np.float64)
        slope, offset = self.other
        if known is not None:
            slope, offset = self.calibration.slopes[known.index], self.calibration.offsets[known.index]
        answers = sigmoid(slope * logits + offset).astype(np.float32)
        return answers if batched else answers[0], known is not None and known.negated
