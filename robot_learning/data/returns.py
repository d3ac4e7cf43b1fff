"""Monte-Carlo returns: the discounted reward to the end of the episode, which Cal-QL calibrates its critics with.

Cal-QL (Nakamoto et al., NeurIPS 2023, section 5) keeps Q of the policy's actions above the value of some reference policy; the
return that a trajectory did collect is a sample of that of the policy which made it. It must never be too high, so what is not
known of a trajectory is replaced by the least it can be:

- terminated: the sum is exact, nothing comes after;
- truncated (time limit, lost robot, end of a recording): the rest is worth at least min(0, lowest_reward / (1 - gamma)), where
  `lowest_reward` bounds the reward of any step from below. With rewards 0/1 and `lowest_reward=0` that is the sum so far; with a
  constant -1 until the goal it is -1 / (1 - gamma) in every step of a trajectory that never got there. Without `lowest_reward`
  nothing is known: -inf, and the calibration does nothing there;
- still running: -inf.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from robot_learning.data.observations import ReplayError


@dataclass(frozen=True)
class ReturnRules:
    """How rewards become returns.

    Attributes:
        gamma: discount of one step, in (0, 1].
        reward_scale, reward_bias: the learner sees `reward * reward_scale + reward_bias` in every step; stored is the reward.
        lowest_reward: no step ever gives less than this (before scale and bias); None when that is not known.
    """

    gamma: float = 0.99
    reward_scale: float = 1.0
    reward_bias: float = 0.0
    lowest_reward: float | None = None

    def __post_init__(self) -> None:
        if not 0.0 < self.gamma <= 1.0:
            raise ReplayError(f"gamma: expected more than 0 and at most 1, found {self.gamma}")
        if not (self.reward_scale > 0.0 and np.isfinite([self.reward_scale, self.reward_bias]).all()):
            raise ReplayError(
                f"reward_scale and reward_bias: expected finite numbers, the scale above 0, "
                f"found {self.reward_scale} and {self.reward_bias}"
            )
        if self.lowest_reward is not None and not np.isfinite(self.lowest_reward):
            raise ReplayError(f"lowest_reward: expected a finite number or None, found {self.lowest_reward}")

    def scaled(self, reward: np.ndarray) -> np.ndarray:
        """The reward the learner sees."""
        if self.reward_scale == 1.0 and self.reward_bias == 0.0:
            return reward
        return reward * self.reward_scale + self.reward_bias

    @property
    def tail(self) -> float:
        """The least that may come after a truncated trajectory; 0 where only gain can, because it may also end there."""
        if self.lowest_reward is None:
            return -np.inf
        lowest = self.lowest_reward * self.reward_scale + self.reward_bias
        if lowest >= 0.0:
            return 0.0
        return lowest / (1.0 - self.gamma) if self.gamma < 1.0 else -np.inf


@dataclass(frozen=True)
class Chains:
    """What following N links to their end gives: `total` and `discount` `(N,)` float64, and `last` `(N,)`, where it ends."""

    total: np.ndarray
    discount: np.ndarray
    last: np.ndarray


def follow(reward: np.ndarray, follower: np.ndarray, gamma: float) -> Chains:
    """Discounted sums along chains: `follower` `(N,)` is the index that comes after each one, -1 at the end of a chain.

    Pointer jumping: in each round every link skips over the one it points to, so that chains of T links take log2(T) rounds of
    array operations. `discount` is gamma to the number of rewards summed.
    """
    total = reward.astype(np.float64)
    discount = np.full(len(total), gamma, np.float64)
    last = np.arange(len(total))
    jump = follower.copy()
    going = np.flatnonzero(jump >= 0)
    while going.size:
        to = jump[going]
        total[going] += discount[going] * total[to]
        # The right-hand sides are gathered whole before they are stored, so every link sees the round before.
        discount[going], last[going], jump[going] = discount[going] * discount[to], last[to], jump[to]
        going = going[jump[going] >= 0]
    return Chains(total, discount, last)


def monte_carlo(chains: Chains, terminated: np.ndarray, tail: np.ndarray | float) -> np.ndarray:
    """Returns `(N,)` float32 along chains; `tail` `(N,)` or one number is the rest where a chain ends without `terminated`."""
    rest = np.where(terminated, 0.0, tail)[chains.last]
    known = np.isfinite(rest)
    value = chains.total + chains.discount * np.where(known, rest, 0.0)
    return np.where(known, value, -np.inf).astype(np.float32)
