import numpy as np
import pytest

from robot_learning.policies.way import Way

LEFT, RIGHT = np.full((4, 1), -1.0, np.float32), np.full((4, 1), 1.0, np.float32)
PLANS = np.stack([LEFT, RIGHT])
ONE = np.ones((4, 1))


def log(*probabilities: float) -> np.ndarray:
    return np.log(np.array(probabilities))


def test_at_first_the_most_probable_plan_is_followed() -> None:
    assert np.array_equal(Way(ONE, displacements=False).choose(log(0.4, 0.6), PLANS, 0), RIGHT)


def test_a_way_is_kept_while_the_other_is_only_a_little_more_probable() -> None:
    way = Way(ONE, displacements=False)
    way.choose(log(0.6, 0.4), PLANS, 0)
    assert np.array_equal(way.choose(log(0.4, 0.6), PLANS, 1), LEFT)


def test_a_way_is_given_up_for_one_that_is_far_more_probable() -> None:
    way = Way(ONE, displacements=False)
    way.choose(log(0.6, 0.4), PLANS, 0)
    assert np.array_equal(way.choose(log(1e-4, 1 - 1e-4), PLANS, 1), RIGHT)


def test_what_counts_is_the_distance_in_standard_deviations() -> None:
    way = Way(100 * ONE, displacements=False)
    way.choose(log(0.6, 0.4), PLANS, 0)
    assert np.array_equal(way.choose(log(0.4, 0.6), PLANS, 1), RIGHT)


@pytest.mark.parametrize("then", [4, 0, -3])
def test_a_plan_that_is_over_or_of_another_time_binds_nobody(then: int) -> None:
    way = Way(ONE, displacements=False)
    way.choose(log(0.6, 0.4), PLANS, 0)
    assert np.array_equal(way.choose(log(0.4, 0.6), PLANS, then), RIGHT)


def test_after_a_reset_nothing_is_kept() -> None:
    way = Way(ONE, displacements=False)
    way.choose(log(0.6, 0.4), PLANS, 0)
    way.reset()
    assert np.array_equal(way.choose(log(0.4, 0.6), PLANS, 1), RIGHT)


def test_sums_of_actions_are_compared_from_where_the_plan_before_has_led() -> None:
    """Two ticks of going right by 1 each are behind it: what is left of the plan goes from 0 to 2 again."""
    right = np.arange(1.0, 5.0, dtype=np.float32)[:, None]
    still = np.zeros((4, 1), np.float32)
    way = Way(ONE, displacements=True)
    way.choose(log(1.0), right[None], 0)
    assert np.array_equal(way.choose(log(0.55, 0.45), np.stack([still, right]), 2), right)


def test_a_plan_is_compared_over_the_ticks_that_both_reach() -> None:
    """The plan before says 1, 1 for the two ticks left to it; what comes after them is free."""
    before = np.array([0.0, 0.0, 1.0, 1.0], np.float32)[:, None]
    same, other = np.array([1.0, 1.0, 9.0, 9.0], np.float32)[:, None], np.zeros((4, 1), np.float32)
    way = Way(ONE, displacements=False)
    way.choose(log(1.0), before[None], 0)
    assert np.array_equal(way.choose(log(0.4, 0.6), np.stack([same, other]), 2), same)
