"""A batch of transitions, gathered from the sources of a replay buffer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from robot_learning.data.observations import Observations
from robot_learning.data.replay_source import Picked, Source


@dataclass(frozen=True)
class Transitions:
    """A batch of B transitions over k steps each, 1 <= k <= n_step, one source after the other.

    Attributes:
        observation, next_observation: `(B, *shape)` by key; pictures uint8, everything else as stored, features float32.
        action: `(B, A)` float32 in [-1, 1]. reward: `(B,)` float32, discounted sum over the k steps.
        discount: `(B,)` float32, gamma**k, 0 where the episode terminated within them.
        mc_return: `(B,)` float32, discounted return to the end of the episode or a lower bound of it, -inf where unknown.
        success: `(B,)` bool, whether the episode, so far, reached its goal.
        source: `(B,)` int64, index into `ReplayBuffer.sources`. task: `(B,)` int64, index into `ReplayBuffer.tasks`.
    """

    observation: dict[str, np.ndarray]
    next_observation: dict[str, np.ndarray]
    action: np.ndarray
    reward: np.ndarray
    discount: np.ndarray
    mc_return: np.ndarray
    success: np.ndarray
    source: np.ndarray
    task: np.ndarray

    def __len__(self) -> int:
        return len(self.reward)


def gather(observations: Observations, picked: Sequence[tuple[int, Source, Picked]]) -> Transitions:
    """The batch of what was picked: of each, the number of its source, the source, and what was picked there."""
    size = sum(len(pick.row) for _, _, pick in picked)
    out = {name: np.empty((size, *like.shape[1:]), like.dtype) for name, like in picked[0][1].sampled.items()}
    frames = [
        {key: np.empty((size, *kept.kept_shape), kept.kept_dtype) for key, kept in observations.keys.items()}
        for _ in range(2)
    ]
    own = {name: np.empty(size, np.float32) for name in ("reward", "discount")}
    number_of, start = np.empty(size, np.int64), 0
    for number, source, pick in picked:
        part = slice(start, start + len(pick.row))
        for rows, target in zip((pick.row, pick.next_row), frames, strict=True):
            for key, values in target.items():
                # The rows are known to be inside; mode="clip" writes straight into `out`.
                source.observation[key].take(rows, 0, values[part], "clip")
        source.action.take(pick.row, 0, out["action"][part], "clip")
        for name in ("mc_return", "success", "task"):
            source.sampled[name].take(pick.label, 0, out[name][part], "clip")
        own["reward"][part], own["discount"][part], number_of[part] = pick.reward, pick.discount, number
        start = part.stop
    observation, following = ({key: _readable(values) for key, values in target.items()} for target in frames)
    task = out.pop("task").astype(np.int64)
    return Transitions(observation, following, **out, **own, source=number_of, task=task)


def _readable(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float32) if values.dtype == np.float16 else values
