"""A replay source as plain lists, slow and obvious, to hold the fast one against."""

from __future__ import annotations

from dataclasses import dataclass, field

import gymnasium
import numpy as np

from robot_learning.data.replay import ReplayBuffer

SPACE = gymnasium.spaces.Box(-np.inf, np.inf, (1,), np.float32)
ACTION_SPACE = gymnasium.spaces.Box(-1, 1, (2,), np.float32)


def make_buffer(**options: object) -> ReplayBuffer:
    """Observations of one number, actions of two."""
    return ReplayBuffer(SPACE, ACTION_SPACE, **options)  # type: ignore[arg-type]


def frame(number: int) -> np.ndarray:
    """The observation of frame `number`, which tells its number."""
    return np.array([number], np.float32)


def frames(first: int, count: int) -> np.ndarray:
    return np.arange(first, first + count, dtype=np.float32)[:, None]


def action_of(number: int) -> np.ndarray:
    """The action taken at frame `number`."""
    return np.sin([number, 2.0 * number]).astype(np.float32)


@dataclass
class PlainEpisode:
    """Numbers of its frames, rewards of its steps, and how it stands."""

    numbers: list[int]
    rewards: list[float] = field(default_factory=list)
    ended: bool = False
    terminated: bool = False
    success: bool = False


@dataclass
class PlainSource:
    """Every episode ever, and the rule that the newest `capacity` frames count."""

    capacity: int
    gamma: float
    tail: float
    written: int = 0
    episodes: list[PlainEpisode] = field(default_factory=list)
    running: dict[int, PlainEpisode] = field(default_factory=dict)

    def new_frame(self) -> int:
        self.written += 1
        return self.written - 1

    def start(self) -> PlainEpisode:
        self.episodes.append(PlainEpisode([self.new_frame()]))
        return self.episodes[-1]

    def alive(self, number: int) -> bool:
        return number >= self.written - self.capacity

    def expected(self, steps: int) -> dict[int, tuple[float, float, int, float, bool]]:
        """By number of the frame: reward, discount, number of the next frame, return and success."""
        found = {}
        for episode in self.episodes:
            for t, number in enumerate(episode.numbers[:-1]):
                if self.alive(number):
                    found[number] = self._expected(episode, t, steps)
        return found

    def _expected(self, episode: PlainEpisode, t: int, steps: int) -> tuple[float, float, int, float, bool]:
        length = len(episode.rewards)
        k = min(steps, length - t)
        reward = sum(self.gamma**i * episode.rewards[t + i] for i in range(k))
        ends = episode.terminated and t + k == length
        mc_return = sum(self.gamma**i * r for i, r in enumerate(episode.rewards[t:]))
        if not episode.ended:
            mc_return = -np.inf
        elif not episode.terminated:
            mc_return += self.gamma ** (length - t) * self.tail
        return reward, 0.0 if ends else self.gamma**k, episode.numbers[t + k], mc_return, episode.success
