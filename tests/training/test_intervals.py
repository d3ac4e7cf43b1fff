import numpy as np
import pytest

from robot_learning.training.intervals import bootstrap, wilson


@pytest.mark.parametrize(
    ("successes", "episodes", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_agrees_with_newcombe_1998(successes: int, episodes: int, low: float, high: float) -> None:
    assert wilson(successes, episodes) == pytest.approx((low, high), abs=1e-4)


def test_wilson_knows_nothing_without_episodes() -> None:
    assert wilson(0, 0) == (0.0, 1.0)


def test_wilson_refuses_more_successes_than_episodes() -> None:
    with pytest.raises(ValueError, match="5 successes of 4"):
        wilson(5, 4)


def test_bootstrap_agrees_with_the_normal_interval_of_a_large_sample() -> None:
    values = np.random.default_rng(0).normal(2.0, 1.0, 2000)
    half = 1.96 * values.std() / np.sqrt(len(values))
    assert bootstrap(values) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.005)


def test_bootstrap_is_reproducible() -> None:
    assert bootstrap([1.0, 2.0, 5.0], seed=3) == bootstrap([1.0, 2.0, 5.0], seed=3)


def test_bootstrap_of_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one"):
        bootstrap([])
