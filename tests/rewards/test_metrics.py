import math

import numpy as np
import pytest

from robot_learning.rewards import quality
from robot_learning.rewards.metrics import auc, calibration_error, no_threshold_for, platt, sigmoid, threshold_for


def test_rates_leave_unknown_labels_out() -> None:
    result = quality(np.array([0.9, 0.6, 0.2, 0.1, 0.99]), np.array([1, 0, 1, 0, -1]), threshold=0.5)
    assert (result.yes, result.no) == (2, 2)
    assert (result.false_positive_rate, result.false_negative_rate) == (0.5, 0.5)


def test_rates_without_a_kind_of_frame_are_nan_and_null_in_json() -> None:
    result = quality(np.array([0.9]), np.array([1]), threshold=0.5)
    assert math.isnan(result.false_positive_rate)
    assert result.to_dict()["auc"] is None


@pytest.mark.parametrize(
    ("scores", "truth", "expected"),
    [([1, 2, 3, 4], [0, 0, 1, 1], 1.0), ([4, 3, 2, 1], [0, 0, 1, 1], 0.0), ([1, 1, 1, 1], [0, 1, 0, 1], 0.5),
     ([1, 2, 2, 3], [0, 0, 1, 1], 0.875)],
)  # fmt: skip
def test_auc(scores: list[int], truth: list[int], expected: float) -> None:
    assert auc(np.array(scores, float), np.array(truth, bool)) == expected


def test_auc_counts_pairs() -> None:
    rng = np.random.default_rng(0)
    scores, truth = rng.integers(0, 9, 200) / 9, rng.random(200) < 0.4
    pairs = np.sign(scores[truth][:, None] - scores[~truth][None]) / 2 + 0.5
    assert auc(scores, truth) == pytest.approx(pairs.mean())


@pytest.mark.parametrize("wanted", [0.0, 0.01, 0.1, 0.5, 1.0])
def test_the_threshold_keeps_to_the_rate(wanted: float) -> None:
    rng = np.random.default_rng(1)
    p, labels = rng.random(1000).round(3), (rng.random(1000) < 0.3).astype(int)
    threshold = threshold_for(p, labels, wanted)
    rate = (p[labels == 0] >= threshold).mean()
    assert wanted - 0.01 <= rate <= wanted


def test_the_threshold_keeps_to_the_rate_with_ties() -> None:
    p = np.array([0.2, 0.7, 0.7, 0.7])
    assert (p >= threshold_for(p, np.zeros(4), 0.5)).mean() <= 0.5


@pytest.mark.parametrize("p", [0.05, 0.3, 0.95, 0.952574, 1.0])
def test_equal_answers_are_all_below_the_threshold_in_float32_too(p: float) -> None:
    frames = np.full(200, p, np.float32)  # compared with a Python float, NumPy rounds that to float32
    assert not (frames >= threshold_for(frames, np.zeros(200), 0.01)).any()


@pytest.mark.parametrize("p", [0.0, 0.05, 0.047426, 0.3, 0.95])
def test_equal_answers_are_all_above_the_no_threshold_in_float32_too(p: float) -> None:
    frames = np.full(200, p, np.float32)
    assert not (frames <= no_threshold_for(frames, np.ones(200), 0.01)).any()


def test_neighbours_of_float32_are_told_apart() -> None:
    frames = np.array([0.9, np.nextafter(np.float32(0.9), np.float32(1))], np.float32)
    assert (frames >= threshold_for(frames, np.zeros(2), 0.5)).tolist() == [False, True]


def test_the_no_threshold_is_its_mirror() -> None:
    rng = np.random.default_rng(2)
    p, labels = rng.random(1000), (rng.random(1000) < 0.3).astype(int)
    rate = (p[labels == 1] <= no_threshold_for(p, labels, 0.05)).mean()
    assert 0.04 <= rate <= 0.05


def test_without_a_no_frame_the_threshold_is_a_half() -> None:
    assert threshold_for(np.array([0.9]), np.array([1]), 0.01) == 0.5


def test_platt_finds_the_line() -> None:
    rng = np.random.default_rng(3)
    logits = rng.normal(0, 3, 20_000)
    labels = (rng.random(20_000) < sigmoid(0.5 * logits - 1.0)).astype(int)
    slope, offset = platt(logits, labels)
    assert (slope, offset) == pytest.approx((0.5, -1.0), abs=0.06)


def test_platt_of_separable_data_stays_finite() -> None:
    slope, offset = platt(np.array([-9.0, -8.0, 8.0, 9.0]), np.array([0, 0, 1, 1]), strength=1.0)
    assert np.isfinite([slope, offset]).all()
    assert 0 < slope < 10


def test_platt_without_frames_is_its_prior() -> None:
    assert platt(np.array([1.0, 2.0]), np.array([-1, -1]), prior=(0.7, -0.3), strength=1.0) == (0.7, -0.3)


def test_few_frames_move_platt_little_from_its_prior() -> None:
    logits, labels = np.array([-2.0, -1.0, 1.0, 2.0]), np.array([1, 1, 1, 1])
    near, far = (platt(logits, labels, prior=(1.0, 0.0), strength=s)[1] for s in (100.0, 0.1))
    assert 0 < near < 0.1 < far


def test_calibration_error_of_calibrated_answers_is_small() -> None:
    rng = np.random.default_rng(4)
    p = rng.random(20_000)
    truth = rng.random(20_000) < p
    assert calibration_error(p, truth) < 0.02
    assert calibration_error(p**3, truth) > 0.1
