"""Play: a person who does one thing after another without a plan, gives some up, repeats others, and never resets the room."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from robot_learning.envs.demonstrator.demonstrator import Demonstrator, DemonstratorConfig
from robot_learning.envs.demonstrator.scripts import SCRIPTS, possible
from robot_learning.envs.playroom import Playroom
from robot_learning.envs.tasks import TASKS, Task

BUTTON_WEIGHT = 1 / 3  # three buttons that are always there would crowd out everything else
LOST = -0.15  # the block's centre below this has fallen off the desk [m]


@dataclass(frozen=True)
class PlayConfig:
    """How a player plays.

    Attributes:
        abandon: chance that an attempt is given up half-way; repeat: chance to stay with the same thing, by undoing what
        was just done or doing it again. demonstrator: how each attempt is done.
    """

    abandon: float = 0.15
    repeat: float = 0.35
    demonstrator: DemonstratorConfig = field(default_factory=DemonstratorConfig)


class Player:
    """Chains tasks for as long as it is asked for actions; whatever the objects' state allows is a candidate.

    `task` is what it tries now, `begun` counts attempts, `abandoned` those given up; `lost` tells that the block has
    fallen off the desk, after which only furniture is left to play with.
    """

    def __init__(self, room: Playroom, rng: np.random.Generator, config: PlayConfig | None = None) -> None:
        self.room, self.rng, self.config = room, rng, config or PlayConfig()
        self._hand = Demonstrator(room, rng, self.config.demonstrator)
        self.begun = self.abandoned = 0
        self.task: Task = TASKS["open_drawer"]
        self._choose()

    @property
    def lost(self) -> bool:
        """Whether the block has fallen off the desk."""
        return float(self.room.block[2]) < LOST

    def act(self) -> np.ndarray:
        """The next action `(5,)` float32."""
        self._patience -= 1
        if self._patience < 0:
            self.abandoned += 1
            self._choose()
        action = self._hand.act()
        if self._hand.attempts > 1:  # the one attempt is over, done or not
            self._choose()
            action = self._hand.act()
        return action

    def _choose(self) -> None:
        candidates = [name for name in SCRIPTS if possible(self.room, name)]
        same = [name for name in (self.task.reverse, self.task.name) if name in candidates]
        if self.begun and same and self.rng.random() < self.config.repeat:
            candidates = same[:1]
        weights = np.array([BUTTON_WEIGHT if name.startswith("push") else 1.0 for name in candidates])
        self.task = TASKS[str(self.rng.choice(candidates, p=weights / weights.sum()))]
        self.begun += 1
        gives_up = self.rng.random() < self.config.abandon
        self._patience = int(self.rng.integers(6, 30)) if gives_up else 150
        self._hand.reset(self.task.name)
