"""Self-imitation: clone the demonstrations, practise with noise, clone what succeeded too, and so on. See docs/self_imitation.md.

Expert iteration with the task's success as the judge: behaviour cloning on the demonstrations and on the policy's own successes,
as in self-imitation learning (Oh et al. 2018, arXiv 1806.05635) but without its critic. What practice adds is data of where
the policy goes wrong and recovers, which twenty demonstrations do not have.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from robot_learning.settings import require_at_least, require_shares


@dataclass(frozen=True)
class SelfImitationConfig:
    """How practice is done and what is made of it."""

    round_steps: int = 2000
    """Steps of practice between two trainings of the clone."""
    noise: float = 0.2
    """Standard deviation of the noise on actions, whose largest value is 1."""
    noise_correlation: float = 0.7
    """How much of the noise stays from one tick to the next."""
    noisy_share: float = 0.5
    """Share of the episodes that are practised with noise; the others show how good the policy is by itself."""
    linger: int = 5
    """Ticks an episode goes on after success: a clone of one that ends at the threshold stops just before it."""
    gradient_steps: int = 3000
    """Gradient steps of the first training, on the demonstrations (and play)."""
    growth: float = 0.5
    """Gradient steps of later trainings: the first's times (frames / frames of the demonstrations) to this power."""
    most_gradient_steps: int = 6000
    """No training is longer."""
    own_encoder_from: int = 0
    """From pictures: from so many episodes on (of all data) the clone trains an image encoder of its own in place of a frozen
    one, which few episodes do not teach; 0: never."""
    own_encoder_steps: int = 2000
    """Gradient steps of such a training: each costs twenty times as much."""

    def __post_init__(self) -> None:
        require_at_least(self, 1, "round_steps", "gradient_steps", "most_gradient_steps", "own_encoder_steps")
        require_at_least(self, 0, "noise", "linger", "growth", "own_encoder_from")
        require_shares(self, "noise_correlation", "noisy_share")

    def has_own_encoder(self, episodes: int) -> bool:
        """Whether a clone of so many episodes trains an image encoder of its own."""
        return 0 < self.own_encoder_from <= episodes

    def gradient_steps_for(self, frames: int, first: int) -> int:
        """Gradient steps of a training on `frames` frames, `first` of them demonstrated."""
        steps = self.gradient_steps * (frames / max(first, 1)) ** self.growth
        return min(max(self.gradient_steps, math.ceil(steps)), self.most_gradient_steps)


class Lingering:
    """When an episode of practice has succeeded, and when it is over: `linger` ticks after success.

    Args:
        must_last: a success that is gone before the end is none, and the episode goes on; false: the first sight of it counts.

    Attributes:
        solved: whether it has succeeded so far.
    """

    def __init__(self, linger: int, must_last: bool) -> None:
        self._linger, self._must_last = linger, must_last
        self.solved, self._rest = False, linger

    def over(self, success: bool) -> bool:
        """Whether the episode is over after a tick with this verdict."""
        self.solved = success or (self.solved and not self._must_last)
        self._rest = self._rest - 1 if self.solved else self._linger
        return self._rest < 0


class Exploration:
    """What practice adds to the policy's actions in one episode: noise of a first-order autoregressive process, or nothing.

    All of it follows from `(seed, episode)`, so that an interrupted run goes on as it would have.

    Attributes:
        noisy: whether anything is added in this episode.
    """

    def __init__(self, config: SelfImitationConfig, actions: int, seed: int, episode: int) -> None:
        self._rng = np.random.default_rng((seed, episode))
        self.noisy = bool(self._rng.random() < config.noisy_share)
        self._keep = config.noise_correlation
        self._fresh = config.noise * math.sqrt(1 - config.noise_correlation**2)
        self._value = np.zeros(actions)

    def __call__(self, action: np.ndarray) -> np.ndarray:
        """What to carry out `(A,)` in [-1, 1] where the policy says `action`."""
        if not self.noisy:
            return action
        self._value = self._keep * self._value + self._fresh * self._rng.standard_normal(len(self._value))
        explored: np.ndarray = np.clip(action + self._value, -1.0, 1.0).astype(np.float32)
        return explored
