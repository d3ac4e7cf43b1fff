"""What the reward node asks its model, and through which cameras it looks."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from robot_learning.contract import Contract
from robot_learning.nodes.judging.asking import Asked, asked, eyes_of, probability
from robot_learning.nodes.parameters import ParameterError
from robot_learning.rewards import QuestionError
from tests.nodes.reward_stand_in import CLOSED, OPEN, make_model


def test_a_wording_is_asked_in_the_model_s_words() -> None:
    way = asked(make_model(), "has the drawer been opened?")
    assert (way.question, way.turned, way.threshold) == (OPEN, False, pytest.approx(0.9))


def test_not_turns_the_answer_and_its_threshold() -> None:
    way = asked(make_model(), "isn't the drawer open?")
    assert (way.question, way.turned, way.threshold) == (OPEN, True, pytest.approx(0.7))


def test_a_question_that_the_model_does_not_know_is_refused() -> None:
    with pytest.raises(QuestionError, match=CLOSED.replace("?", r"\?")):
        asked(make_model(), "is the kettle boiling?")


def test_a_model_without_a_book_is_asked_anything() -> None:
    class Anything:
        threshold = 0.5

    model: Any = Anything()
    assert asked(model, "is the kettle boiling?").question == "is the kettle boiling?"


def test_it_looks_through_the_model_s_cameras_alone() -> None:
    eyes = eyes_of(Contract.load("ur5e_2f85"), make_model())
    assert list(eyes.observation) == ["observation.images.front"]


def test_a_missing_camera_is_named_with_those_there_are() -> None:
    contract = Contract.load("ur5e_2f85").select(["observation.images.wrist"])
    with pytest.raises(ParameterError, match=r"cameras \['front'\].*has \['wrist'\], \['front'\] missing"):
        eyes_of(contract, make_model())


def test_a_longer_age_can_be_allowed() -> None:
    contract = Contract.load("ur5e_2f85")
    front = contract.observation["observation.images.front"]
    eyes = eyes_of(contract, make_model(), max_age=2.0)
    assert eyes.observation["observation.images.front"] == replace(front, max_age=2.0)


def test_the_stand_in_tells_bright_from_dark() -> None:
    pictures = {"front": np.stack([np.zeros((32, 32, 3), np.uint8), np.full((32, 32, 3), 255, np.uint8)])}
    dark, bright = np.asarray(make_model().probability(pictures, OPEN))
    assert dark < 0.05 and bright > 0.95


class Says:
    """A model that says what it is told to, whatever it sees."""

    threshold = 0.9

    def __init__(self, answers: dict[str, float]) -> None:
        self.answers = answers

    @property
    def questions(self) -> tuple[str, ...]:
        return tuple(self.answers)

    def probability(self, images: Any, question: str) -> float:
        return self.answers[question]


@pytest.mark.parametrize(
    ("answers", "turned", "expected"),
    [
        ({OPEN: 0.95, CLOSED: 0.97}, False, 0.03),  # both, so neither
        ({OPEN: 0.95, CLOSED: 0.5}, False, 0.95),  # the other is no yes
        ({OPEN: 0.95}, False, 0.95),  # the other is not known
        ({OPEN: 0.4, CLOSED: 0.97}, False, 0.4),  # it is a no already
        ({OPEN: 0.05, CLOSED: 0.97}, True, 0.95),  # "not open" does not contradict "closed"
    ],
)
def test_what_is_done_and_undone_at_once_is_neither(answers: dict[str, float], turned: bool, expected: float) -> None:
    model: Any = Says(answers)
    assert probability(model, {}, Asked(OPEN, turned, 0.9)) == pytest.approx(expected)
