"""What a source of a replay buffer holds at present."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from robot_learning.data.replay_source import Source


@dataclass(frozen=True)
class SourceStatistics:
    """One source, as far as its ring still has it (the oldest episode may be cut short).

    Attributes:
        frames: frames stored. transitions: pairs of frame and label that can be sampled.
        episodes, successes: finished attempts, and those that reached their goal, over all labels.
        running: episodes in progress, counted nowhere else but in frames and transitions.
        mean_return: undiscounted reward of a finished attempt, before scale and bias; NaN without any.
        reward: lowest and highest reward of a step; NaN without any. action: `(2, A)` lowest and highest of each element.
    """

    frames: int
    transitions: int
    episodes: int
    successes: int
    running: int
    mean_return: float
    reward: tuple[float, float]
    action: np.ndarray


def source_statistics(source: Source) -> SourceStatistics:
    """Count what is in a source; one pass over its labels."""
    rows = np.arange(source.frames)
    valid, reward = source.valid[rows], source.reward[rows]
    finished = valid.copy()
    for running in source.running.values():
        numbers = np.array(running.numbers)
        finished[numbers[numbers >= source.oldest] % source.capacity] = False
    # An attempt ends at the transition that nothing of it follows. (Following is -1 only where nothing is valid.)
    ends = finished & (source.terminated[rows] | ~source.valid[source.following[rows]])
    episodes, moved = int(ends.sum()), valid.any(axis=1)
    span = (float(reward[valid].min()), float(reward[valid].max())) if valid.any() else (np.nan, np.nan)
    actions = source.action[rows][moved]
    return SourceStatistics(
        frames=source.frames,
        transitions=source.transitions,
        episodes=episodes,
        successes=int((ends & source.success[rows]).sum()),
        running=len(source.running),
        mean_return=float(reward[finished].sum(dtype=np.float64) / episodes) if episodes else np.nan,
        reward=span,
        action=np.stack([actions.min(0), actions.max(0)]) if len(actions) else np.full((2, source.actions), np.nan),
    )
