"""Self-imitation: clone the demonstrations, practise with noise, clone what succeeded too, and so on. See docs/self_imitation.md.

Expert iteration with the task's success as the judge: behaviour cloning on the demonstrations and on the policy's own successes,
as in self-imitation learning (Oh et al. 2018, arXiv 1806.05635) but without its critic. What practice adds is data of where
the policy goes wrong and recovers, which twenty demonstrations do not have.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class SelfImitationConfig:
    """How practice is done and what is made of it."""

    round_steps: int = 1500
    """Steps of practice between two trainings of the clone."""
    noise: float = 0.3
    """Standard deviation of the noise on actions, whose largest value is 1."""
    noise_correlation: float = 0.7
    """How much of the noise stays from one tick to the next."""
    noisy_share: float = 0.75
    """Share of the episodes that are practised with noise; the others show how good the policy is by itself."""
    linger: int = 5
    """Ticks an episode goes on after success: a clone of one that ends at the threshold stops just before it."""
    stall_ticks: int = 10
    """In a noisy episode, a policy whose actions have been near zero for so many ticks is stuck; 0: nothing is done about it."""
    stall_threshold: float = 0.08
    """Mean size of an action's largest element below which it counts as near zero."""
    kick_ticks: int = 8
    """What is done about it: for so many ticks the gripper opens and the tool rises, going some random way."""
    gradient_steps: int = 2000
    """Gradient steps of the first training, on the demonstrations alone."""
    growth: float = 0.5
    """Gradient steps of later trainings: the first's times (frames / frames of the demonstrations) to this power."""
    most_gradient_steps: int = 8000
    """No training is longer."""

    def gradient_steps_for(self, frames: int, first: int) -> int:
        """Gradient steps of a training on `frames` frames, `first` of them demonstrated."""
        steps = self.gradient_steps * (frames / max(first, 1)) ** self.growth
        return min(max(self.gradient_steps, math.ceil(steps)), self.most_gradient_steps)


class Exploration:
    """What practice adds to the policy's actions in one episode: correlated noise, and a kick where the policy stands still.

    The noise is a first-order autoregressive process. A kick opens the gripper and lifts the tool, so that the policy has to try
    again: of the episodes that then succeed, the clone learns to do so by itself. All of it follows from `(seed, episode)` and
    the policy's actions, so that an interrupted run goes on as it would have.

    Args:
        names: the elements of an action, as in the contract (dx, dy, dz, dyaw, gripper).

    Attributes:
        noisy: whether anything is added in this episode.
        kicks: the ticks at which kicks began.
    """

    def __init__(self, config: SelfImitationConfig, names: Sequence[str], seed: int, episode: int) -> None:
        self._config, self._names = config, list(names)
        self._rng = np.random.default_rng((seed, episode))
        self.noisy = bool(self._rng.random() < config.noisy_share)
        self._fresh = config.noise * math.sqrt(1 - config.noise_correlation**2)
        self._value = np.zeros(len(self._names))
        self._sizes: list[float] = []
        self._kick, self._left = np.zeros(len(self._names)), 0
        self._tick = 0
        self.kicks: list[int] = []

    def __call__(self, action: np.ndarray) -> np.ndarray:
        """What to carry out `(A,)` in [-1, 1] where the policy says `action`."""
        if not self.noisy:
            return action
        config, tick = self._config, self._tick
        self._tick += 1
        self._value = config.noise_correlation * self._value + self._fresh * self._rng.standard_normal(len(action))
        self._sizes = [*self._sizes, float(np.abs(action).max())][-max(config.stall_ticks, 1) :]
        stuck = len(self._sizes) == config.stall_ticks and np.mean(self._sizes) < config.stall_threshold
        if stuck and not self._left:
            self._left, self._sizes = config.kick_ticks, []
            self._kick = self._drawn_kick()
            self.kicks.append(tick)
        if self._left:
            self._left -= 1
            self._sizes = []
            action = self._kick
        explored: np.ndarray = np.clip(action + self._value, -1.0, 1.0).astype(np.float32)
        return explored

    def _drawn_kick(self) -> np.ndarray:
        known = {"dz": 1.0, "gripper": -1.0}
        return np.array([known.get(name, self._rng.uniform(-0.5, 0.5)) for name in self._names])
