"""How good yes/no answers are: false positives and negatives, AUC, calibration, and thresholds for a wanted rate."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

UNKNOWN = -1  # a label nobody gave
SLOPE_SPREAD = 25.0  # squared logit of a typical frame: how much more a slope matters than an offset


@dataclass(frozen=True)
class Quality:
    """Of the answers to one question, or to all of them.

    Attributes:
        yes, no: number of frames with that label.
        false_positive_rate: share of the "no" frames answered yes; false_negative_rate: of the "yes" frames answered no.
        auc: probability that a "yes" frame gets more than a "no" frame. NaN where a kind of frame is missing.
        calibration_error: mean distance of P(yes) from how often it was yes, over 10 bins with equally many frames.
        brier: mean squared error of P(yes).
    """

    yes: int
    no: int
    false_positive_rate: float
    false_negative_rate: float
    auc: float
    calibration_error: float
    brier: float

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON, NaN as None."""
        return {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in asdict(self).items()}


def quality(probabilities: np.ndarray, labels: np.ndarray, threshold: float) -> Quality:
    """The quality of P(yes) `(n,)` against labels `(n,)` (1 yes, 0 no, -1 unknown, left out) at a threshold."""
    known = labels != UNKNOWN
    p, truth = probabilities[known].astype(np.float64), labels[known] == 1
    said = p >= threshold
    return Quality(
        yes=int(truth.sum()),
        no=int((~truth).sum()),
        false_positive_rate=float(said[~truth].mean()) if (~truth).any() else math.nan,
        false_negative_rate=float((~said)[truth].mean()) if truth.any() else math.nan,
        auc=auc(p, truth),
        calibration_error=calibration_error(p, truth),
        brier=float(((p - truth) ** 2).mean()) if len(p) else math.nan,
    )


def auc(scores: np.ndarray, truth: np.ndarray) -> float:
    """Area under the ROC curve (Mann and Whitney 1947), ties counted half; NaN when all labels agree."""
    yes, no = int(truth.sum()), int((~truth).sum())
    if not yes or not no:
        return math.nan
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    last = counts.cumsum()
    ranks = (last - (counts - 1) / 2.0)[place]  # mean rank of equal scores, from 1
    return float((ranks[truth].sum() - yes * (yes + 1) / 2.0) / (yes * no))


def calibration_error(probabilities: np.ndarray, truth: np.ndarray, bins: int = 10) -> float:
    """Expected calibration error over bins of equally many frames (Naeini et al. 2015); NaN without frames."""
    if not len(probabilities):
        return math.nan
    order = probabilities.argsort(kind="stable")
    parts = np.array_split(order, min(bins, len(order)))
    return float(sum(len(part) * abs(probabilities[part].mean() - truth[part].mean()) for part in parts) / len(order))


def threshold_for(probabilities: np.ndarray, labels: np.ndarray, false_positive_rate: float) -> float:
    """A threshold at which at most that share of the "no" frames is answered yes, and no more than needed for it.

    `(n,)` each, any question; labels 1, 0 or -1. Without a "no" frame it is 0.5. It lies half way between two frames' P(yes).
    """
    no = probabilities[labels == 0]
    return _cut(no, false_positive_rate, 0.0, 1.0) if len(no) else 0.5


def no_threshold_for(probabilities: np.ndarray, labels: np.ndarray, false_negative_rate: float) -> float:
    """The greatest P(yes) up to which at most that share of the "yes" frames is answered no."""
    yes = probabilities[labels == 1]
    return -_cut(-yes, false_negative_rate, -1.0, 0.0) if len(yes) else 0.5


def _cut(scores: np.ndarray, rate: float, lowest: float, highest: float) -> float:
    """A number that at most that share of the scores `(n,)` reach, half way between two of them.

    It is a float32, as P(yes) is: compared with an array of them, any other number would be rounded first, perhaps down to the
    very score that it is to be above. All frames that an answer in words alone calls yes have the same.
    """
    ordered = np.sort(scores.astype(np.float64))
    allowed = math.floor(rate * len(ordered))
    above = ordered[len(ordered) - allowed] if allowed else highest
    below = ordered[len(ordered) - allowed - 1] if allowed < len(ordered) else lowest
    cut = np.float32((below + above) / 2.0)
    return float(cut if below < cut <= above else np.nextafter(np.float32(below), np.float32(2.0)))


def platt(
    logits: np.ndarray,
    labels: np.ndarray,
    prior: tuple[float, float] = (1.0, 0.0),
    strength: float = 1e-3,
    iterations: int = 50,
) -> tuple[float, float]:
    """Slope and offset with which `sigmoid(slope * logit + offset)` is calibrated (Platt 1999).

    Newton's method on `(n,)` logits and labels (1, 0, -1 left out). `strength` draws the two towards the `prior`, as that many
    frames at the middle would: few frames, or frames that one logit tells apart without a miss, do not make it sure of itself.
    """
    known = labels != UNKNOWN
    truth = (labels[known] == 1).astype(np.float64)
    design = np.stack([logits[known].astype(np.float64), np.ones(len(truth))], axis=1)
    start = parameters = np.array(prior, np.float64)
    pull = strength * np.array([SLOPE_SPREAD, 1.0])
    for _ in range(iterations):
        p = sigmoid(design @ parameters)
        gradient = design.T @ (p - truth) + pull * (parameters - start)
        curvature = design.T @ (design * (p * (1 - p))[:, None]) + np.diag(pull)
        step = np.linalg.solve(curvature, gradient)
        parameters = parameters - step * min(1.0, 2.0 / (np.abs(step).max() + 1e-12))
        if np.abs(step).max() < 1e-8:
            break
    return float(max(parameters[0], 1e-3)), float(parameters[1])


def sigmoid(x: np.ndarray) -> np.ndarray:
    """`1 / (1 + exp(-x))`, without overflow."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * x)))
