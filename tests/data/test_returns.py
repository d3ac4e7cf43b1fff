from __future__ import annotations

import numpy as np
import pytest

from robot_learning.data.observations import ReplayError
from robot_learning.data.returns import ReturnRules, follow

from .replay_reference import action_of, frames, make_buffer


def returns(rewards: list[float], terminated: bool, **rules: float) -> list[float]:
    """The returns a buffer keeps of one episode."""
    buffer = make_buffer(**rules)
    actions = np.array([action_of(n) for n in range(len(rewards))])
    buffer.add_episode("offline", frames(0, len(rewards) + 1), actions, np.array(rewards), terminated)
    return buffer.source("offline").mc_return[: len(rewards), 0].tolist()


def test_a_terminated_episode_sums_to_its_end() -> None:
    assert returns([1.0, 2.0, 4.0], True, gamma=0.5) == [3.0, 4.0, 4.0]


def test_nothing_is_known_of_a_truncated_episode_without_a_lowest_reward() -> None:
    assert returns([1.0, 2.0], False, gamma=0.5) == [-np.inf, -np.inf]


def test_a_failure_at_a_constant_cost_is_worth_it_for_ever() -> None:
    assert returns([-1.0] * 3, False, gamma=0.9, lowest_reward=-1.0) == pytest.approx([-10.0] * 3)


def test_scale_and_bias_apply_to_every_step_and_to_what_comes_after() -> None:
    # Reward 0/1 as the AntMaze scripts of Cal-QL use it: 10 r - 5.
    rules = {"gamma": 0.9, "reward_scale": 10.0, "reward_bias": -5.0, "lowest_reward": 0.0}
    assert returns([0.0, 0.0], False, **rules) == pytest.approx([-50.0, -50.0])
    assert returns([0.0, 1.0], True, **rules) == pytest.approx([-5.0 + 0.9 * 5.0, 5.0])


def test_gain_after_a_truncation_is_not_assumed() -> None:
    # With at least +1 a step an episode that ends right after the cut still gets nothing more.
    assert returns([1.0, 1.0], False, gamma=0.5, lowest_reward=1.0) == [1.5, 1.0]


def test_without_a_discount_a_cost_may_go_on_for_ever() -> None:
    assert ReturnRules(gamma=1.0, lowest_reward=-1.0).tail == -np.inf
    assert ReturnRules(gamma=1.0, lowest_reward=0.0).tail == 0.0


def test_a_discount_that_underflows_leaves_numbers() -> None:
    found = returns([1.0] * 400, False, gamma=0.1)
    assert set(found) == {-np.inf}


@pytest.mark.parametrize(
    "wrong",
    [{"gamma": 0.0}, {"gamma": 1.1}, {"reward_scale": -1.0}, {"reward_bias": np.nan}, {"lowest_reward": np.nan}],
)
def test_rules_that_cannot_be_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ReplayError, match=next(iter(wrong))):
        ReturnRules(**wrong)


def test_chains_of_any_order_are_followed_to_their_end() -> None:
    # 3 -> 0 -> 4 and 2 -> 1
    chains = follow(np.array([1.0, 2.0, 4.0, 8.0, 16.0]), np.array([4, -1, 1, 0, -1]), 0.5)
    assert chains.total.tolist() == [9.0, 2.0, 5.0, 12.5, 16.0]
    assert chains.last.tolist() == [4, 1, 1, 4, 4]
    assert chains.discount.tolist() == [0.25, 0.5, 0.25, 0.125, 0.5]


def test_new_rules_recompute_every_return() -> None:
    buffer = make_buffer(gamma=0.5, capacity=8)
    for first in (0, 10, 20):  # the ring wraps
        actions = np.array([action_of(n) for n in range(3)])
        buffer.add_episode("offline", frames(first, 4), actions, np.array([1.0, 1.0, 1.0]), True)
    buffer.add_step("offline", 0, frames(0, 1)[0], action_of(0), 1.0, frames(1, 1)[0], False, False)
    buffer.set_rules(gamma=0.9)
    batch = buffer.sample(200, rng=np.random.default_rng(0))
    by_frame = dict(zip(batch.observation["observation"][:, 0].tolist(), batch.mc_return.tolist(), strict=True))
    assert by_frame[20] == pytest.approx(2.71)
    assert by_frame[0] == -np.inf
