"""A scripted demonstrator with human-like variety: several ways, speeds, pauses, correlated noise, and failures if asked."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from robot_learning.envs.demonstrator.hand import Hand, Motion, Style
from robot_learning.envs.demonstrator.scripts import SCRIPTS, WAYS
from robot_learning.envs.playroom import Playroom
from robot_learning.envs.tasks import task as task_named

MISS = 0.35  # how far a failure on purpose steers aside, in action units


@dataclass(frozen=True)
class DemonstratorConfig:
    """How varied and how careful the demonstrator is.

    Attributes:
        noise: size of the correlated (Ornstein-Uhlenbeck) noise on the action; noise_memory: share kept a tick.
        speed: slowest and fastest share of the largest step; pause: largest chance of a stop between motions.
        failure_rate: share of episodes that aim beside the object and stop early.
    """

    noise: float = 0.15
    noise_memory: float = 0.8
    speed: tuple[float, float] = (0.65, 1.0)
    pause: float = 0.15
    failure_rate: float = 0.0


class Demonstrator:
    """Solves a task of one playroom from the state of its objects, one action a tick.

    `reset(task)` begins an episode in a new style; `act()` gives the next action `(5,)`, and tries again, in another
    way, when an attempt has ended without success. `attempts` counts the attempts of this episode; `failing` tells that
    it is a failure on purpose.
    """

    def __init__(self, room: Playroom, rng: np.random.Generator, config: DemonstratorConfig | None = None) -> None:
        self.room, self.rng, self.config = room, rng, config or DemonstratorConfig()
        self.failing = False
        self.attempts = 0
        self._motion: Motion | None = None

    def reset(self, task: str, way: int | None = None) -> None:
        """Begin an episode of `task`, in a random way or in this one (`UnknownTaskError`)."""
        self.task = task_named(task).name
        self.failing = bool(self.rng.random() < self.config.failure_rate)
        self.way = int(self.rng.integers(WAYS.get(task, 2))) if way is None else way
        self._noise = np.zeros(5)
        self.attempts = 0
        aside = self.rng.uniform(-np.pi, np.pi)
        self._miss = MISS * np.array([np.cos(aside), np.sin(aside)])
        self._patience: int | None = int(self.rng.integers(8, 18)) if self.failing else None
        self._attempt()

    def _attempt(self) -> None:
        self.attempts += 1
        config = self.config
        self.style = Style(
            way=self.way,
            speed=float(self.rng.uniform(*config.speed)),
            height=float(self.rng.uniform(-0.01, 0.05)),
            noise=config.noise * float(self.rng.uniform(0.5, 1.5)),
            pause=float(self.rng.uniform(0.0, config.pause)),
        )
        self._motion = SCRIPTS[self.task](Hand(self.room, self.rng, self.style))

    @property
    def given_up(self) -> bool:
        """Whether a failure on purpose has stopped for a moment: nothing more comes."""
        return self._patience is not None and self._patience < 0

    def act(self) -> np.ndarray:
        """The next action `(5,)` float32 in [-1, 1]."""
        if self._patience is not None:
            self._patience -= 1
            if self.given_up:
                return np.zeros(5, dtype=np.float32)
        for _ in range(3):
            assert self._motion is not None, "call reset(task) first"
            action = next(self._motion, None)
            if action is not None:
                return self._disturb(action)
            self.way += 1
            self._attempt()
        return np.zeros(5, dtype=np.float32)  # a script with nothing left to do: hold still

    def _disturb(self, action: np.ndarray) -> np.ndarray:
        memory = self.config.noise_memory
        fresh = self.rng.normal(0.0, 1.0, 5) * np.sqrt(1 - memory**2)
        self._noise = memory * self._noise + fresh
        # Noise grows with speed, as people's does (Harris & Wolpert 1998): a resting hand does not shake.
        effort = min(1.0, float(np.abs(action[:4]).max()) / 0.6)
        noisy = action.copy()
        noisy[:4] += self.style.noise * effort * self._noise[:4] * (1, 1, 0.6, 0.5)
        if self.failing and effort > 0.1:
            noisy[:2] += self._miss
        return np.clip(noisy, -1.0, 1.0).astype(np.float32)
