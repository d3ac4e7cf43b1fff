"""Play: a person who does one thing after another out of curiosity, gives some up, repeats others, and never resets the room."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from robot_learning.envs.demonstrator.demonstrator import Demonstrator, DemonstratorConfig
from robot_learning.envs.demonstrator.scripts import SCRIPTS, possible
from robot_learning.envs.playroom import Playroom
from robot_learning.envs.tasks import TASKS, Task

WEIGHTS = {
    # three buttons that are always there would crowd out everything else
    **dict.fromkeys(("push_red_button", "push_green_button", "push_blue_button"), 1 / 3),
    # a standing block does not stand for long, and once it lies, nobody can stand it up again with this gripper
    "grasp_upright": 100.0,
    "knock_object": 2.0,
}
"""How tempting a task is when it is possible, where not 1."""
OPENS_UP = {
    "open_drawer": ("sweep_object", "grasp_lift"),
    "sweep_right": ("sweep_object", "grasp_lift"),
    "sweep_object": ("grasp_lift",),
    "open_sliding": ("put_into_shelf", "pull_out_of_shelf"),
    "put_into_shelf": ("pull_out_of_shelf",),
    "rotate_left": ("rotate_right",),
    "rotate_right": ("rotate_left",),
    "sweep_left": ("sweep_right",),
}
"""What a task makes possible: it is as interesting as the most interesting of these."""
LOST = -0.15  # the block's centre below this has fallen off the desk [m]


@dataclass(frozen=True)
class PlayConfig:
    """How a player plays.

    Attributes:
        abandon: chance that an attempt is given up half-way; repeat: chance to stay with the same thing, by undoing what
        was just done or doing it again. demonstrator: how each attempt is done.
        tasks: play with these only, and with others while none of these is possible; all when empty.
    """

    abandon: float = 0.15
    repeat: float = 0.35
    demonstrator: DemonstratorConfig = field(default_factory=DemonstratorConfig)
    tasks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        unknown = sorted(set(self.tasks) - set(SCRIPTS))
        if unknown:
            raise ValueError(f"tasks: nobody knows how to do {unknown}; known: {sorted(SCRIPTS)}")


class Player:
    """Chains tasks for as long as it is asked for actions; whatever the objects' state allows is a candidate.

    What succeeded less often is more interesting, and so is what makes such a task possible: with a lying block and a closed
    drawer, opening the drawer, sweeping the block to its side, into it, and taking it out follow one another.

    `task` is what it tries now, `begun` counts attempts, `abandoned` those given up; `lost` tells that the block has fallen
    off the desk, after which only furniture is left to play with.
    """

    def __init__(self, room: Playroom, rng: np.random.Generator, config: PlayConfig | None = None) -> None:
        self.room, self.rng, self.config = room, rng, config or PlayConfig()
        self._hand = Demonstrator(room, rng, self.config.demonstrator)
        self.begun = self.abandoned = 0
        self._tried: Counter[str] = Counter()
        self._done: Counter[str] = Counter()
        self._done_at = 0  # number of the last attempt that succeeded
        self.task: Task = TASKS["open_drawer"]
        self._choose()

    @property
    def lost(self) -> bool:
        """Whether the block has fallen off the desk."""
        return float(self.room.block[2]) < LOST

    def act(self) -> np.ndarray:
        """The next action `(5,)` float32."""
        if self._done_at != self.begun and self.task.success(self.room):
            self._done[self.task.name] += 1
            self._done_at = self.begun
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
        there = [name for name in SCRIPTS if possible(self.room, name)]
        candidates = [name for name in there if name in (self.config.tasks or SCRIPTS)] or there
        same = [name for name in (self.task.reverse, self.task.name) if name in candidates]
        if self.begun and same and self.rng.random() < self.config.repeat:
            candidates = same[:1]
        weights = np.array([WEIGHTS.get(name, 1.0) * self._interest(name) for name in candidates])
        self.task = TASKS[str(self.rng.choice(candidates, p=weights / weights.sum()))]
        self.begun += 1
        self._tried[self.task.name] += 1
        gives_up = self.rng.random() < self.config.abandon
        self._patience = int(self.rng.integers(6, 30)) if gives_up else 150
        self._hand.reset(self.task.name)

    def _interest(self, name: str) -> float:
        rarest = min(self._done[task] + 0.3 * self._tried[task] for task in (name, *OPENS_UP.get(name, ())))
        return float((1 + rarest) ** -4)
