from collections.abc import Sequence

import numpy as np
import pytest

from robot_learning.rewards import HeadTraining, LabelError, quality
from robot_learning.rewards.metrics import sigmoid
from robot_learning.rewards.prompted import Answers, plain_book
from robot_learning.rewards.prompted_training import Fitted, LabelledPictures, fit_prompted
from tests.rewards.worlds import QUESTIONS

TEXTS = tuple(question.text for question in QUESTIONS)
TRAINING = HeadTraining(folds=3, false_positive_rate=0.05)
SLOPE, OFFSET = 0.5, -1.0
EPISODES, LENGTH = 30, 20


class Whisperer:
    """Reads its logits off the pictures; what it says must be scaled to be true. Keeps what it was asked."""

    def __init__(self, share: float = 0.9) -> None:
        self.share = share
        self.asked: list[tuple[int, str]] = []

    def ask(self, pictures: Sequence[np.ndarray], questions: Sequence[str]) -> Answers:
        count = len(pictures[0])
        self.asked += [(count, question) for question in questions]
        columns = [TEXTS.index(question) for question in questions]
        logits = pictures[0][:, 0, columns, 0].astype(np.float32) / 10 - 12.8
        return Answers(logits, np.full((count, len(questions)), self.share, np.float32))


def whispered(seed: int = 0, hidden: float = 0.0) -> LabelledPictures:
    """Labels drawn with P = sigmoid(SLOPE * logit + OFFSET); a share of them hidden."""
    rng = np.random.default_rng(seed)
    pictures = rng.integers(48, 209, (EPISODES * LENGTH, 2, 3, 3), dtype=np.uint8)
    p = sigmoid(SLOPE * (pictures[:, 0, :, 0] / 10 - 12.8) + OFFSET)
    labels = (rng.random(p.shape) < p).astype(np.int8)
    labels[rng.random(p.shape) < hidden] = -1
    return LabelledPictures(lambda rows: [pictures[rows]], labels, np.repeat(np.arange(EPISODES), LENGTH))


@pytest.fixture(scope="module")
def fitted() -> Fitted:
    return fit_prompted(Whisperer(), whispered(), plain_book(QUESTIONS), TRAINING)


def test_slope_and_offset_are_found(fitted: Fitted) -> None:
    assert fitted.calibration.slopes == pytest.approx([SLOPE] * 3, rel=0.2)
    assert fitted.calibration.offsets == pytest.approx([OFFSET] * 3, abs=0.3)
    assert fitted.other == pytest.approx((SLOPE, OFFSET), rel=0.2)


def test_held_out_probabilities_are_calibrated(fitted: Fitted) -> None:
    assert quality(fitted.held_out.ravel(), fitted.labels.ravel(), 0.5).calibration_error < 0.04


def test_the_threshold_keeps_to_the_wanted_rate(fitted: Fitted) -> None:
    """Equal logits may round apart, so by one frame more."""
    data = whispered()
    answers = fitted.calibration.probability(Whisperer().ask(data.look(np.arange(EPISODES * LENGTH)), TEXTS).logits)
    assert 0.03 < (answers[data.labels == 0] >= fitted.calibration.threshold).mean() < 0.052


def test_the_share_of_yes_and_no_is_reported(fitted: Fitted) -> None:
    assert fitted.share == pytest.approx(0.9)


def test_an_unknown_share_stays_unknown() -> None:
    assert np.isnan(fit_prompted(Whisperer(np.nan), whispered(), plain_book(QUESTIONS), TRAINING).share)


def test_nothing_is_asked_that_nobody_can_check() -> None:
    asker, data = Whisperer(), whispered(hidden=0.7)
    fit_prompted(asker, data, plain_book(QUESTIONS), TRAINING)
    for q, text in enumerate(TEXTS):
        assert sum(count for count, asked in asker.asked if asked == text) == (data.labels[:, q] >= 0).sum()


def test_a_question_with_one_answer_is_refused_before_anything_is_asked() -> None:
    asker, data = Whisperer(), whispered()
    data.labels[:, 2] = 0
    with pytest.raises(LabelError, match="is the red lamp lit"):
        fit_prompted(asker, data, plain_book(QUESTIONS), TRAINING)
    assert asker.asked == []
