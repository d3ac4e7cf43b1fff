"""Practice without resets in the simulated playroom: which task comes next, and what is done when the robot is stuck."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from robot_learning.algorithms.demonstrations import Demonstrations
from robot_learning.control.homing import STIR_TICKS, Homes, Stirring
from robot_learning.data.files import write_atomic
from robot_learning.envs.reset_free import ResetFreePlayroomEnv
from robot_learning.envs.tasks import task as find_task
from robot_learning.training.judged import Judged
from robot_learning.training.practice_schedule import PERSON, STIR, Attempt, PracticeSchedule, ScheduleConfig

SCENE = "scene.npy"


class ResetFree(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Objects stay where they are between episodes; the arm goes home by itself, looks, and takes up the task that is next.

    A full reset comes with the first episode, and when the schedule asks for a person. `info["before"]` says what was done
    before an episode: "home", "stir" or "person". The task that `reset` is asked for is ignored.

    Args:
        judge: the wrapper in `env` that says what is done already; None: the simulator does.

    Attributes:
        past: the episodes so far; tell `ended` of each.
        notes_ends: it notes them itself, by the verdict at the end of each, and `save` keeps the scene of that moment.
    """

    def __init__(
        self, env: gymnasium.Env[Any, Any], tasks: Sequence[str], config: ScheduleConfig, judge: Judged | None = None
    ) -> None:
        super().__init__(env)
        self.judge = judge
        self.schedule = PracticeSchedule(tasks, config)
        self.past: list[Attempt] = []
        self.notes_ends = False
        self._before, self._lost = "", False
        self._done_before = self._truly_before = False  # of the task of this episode, at its beginning
        self._left: np.ndarray | None = None  # the scene that the last episode left
        self._patience: dict[str, int] = {}  # ticks of an attempt, by instruction
        self._ticks = 0

    @property
    def room(self) -> ResetFreePlayroomEnv:
        """The environment at the bottom."""
        env = self.env.unwrapped
        assert isinstance(env, ResetFreePlayroomEnv)
        return env

    @property
    def interventions(self) -> int:
        """How often a person was asked so far."""
        return sum(attempt.before == PERSON for attempt in self.past)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Go home (stir, or ask a person, before), look, and choose the task."""
        self._before = PERSON if self._lost else self.schedule.before(self.past)
        self._lost = False
        first = self.schedule.choose(self.past, {})
        if self._before == STIR:
            self.stir(np.random.default_rng(seed))
        observation, info = self.env.reset(seed=seed, options={"task": first, "full_reset": self._before == PERSON})
        seen = self._done(observation, perhaps=True)
        task = self.schedule.choose(self.past, seen)
        self.room.set_task(task)
        self._done_before, self._truly_before = seen.get(task, False), self._truly_done(task)
        self._ticks = 0
        told = {"task": task, "instruction": self.room.task.instruction, "before": self._before}
        return observation, {**info, **told}

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """As the environment's; truncated when an attempt at this task has had its time (`begin_as`)."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._ticks += 1
        truncated = truncated or self._ticks >= self._patience.get(self.room.task.instruction, self._ticks + 1)
        if self.notes_ends and (terminated or truncated):
            self.ended(info["task"], bool(info["is_success"]))
            self._left = self.room.scene()
        return observation, reward, terminated, truncated, info

    def look(self) -> tuple[bool, bool]:
        """Go home and look from there, where the arm hides nothing: whether this episode has done its task.

        What was done before it, or may have been, was not done by it: a block at the back of the shelf was not quite seen before
        and seen after 7 of 8 "successes" of putting it there. The second answer is the simulator's, for statistics.
        """
        task = self.room.task.name
        observation, _ = self.env.reset(options={"task": task})
        done = self._done(observation).get(task, False)
        return done and not self._done_before, self._truly_done(task) and not self._truly_before

    def begin_as(self, shown: Demonstrations) -> None:
        """From now on episodes begin where these demonstrations began, if their state tells, and take as long as attempts may."""
        plan = shown.retry_plan()
        if plan is not None:
            self.room.homes, self._patience = Homes.demonstrated(plan.starts), dict(plan.ticks)

    def stir(self, rng: np.random.Generator) -> None:
        """Move about at random, low above the desk: what lies in a corner may come out of it."""
        room, stirring = self.room.room, Stirring(rng)
        room.controller.reset(room.joints, room.gripper)
        for _ in range(STIR_TICKS):
            room.step(stirring.action(room.tcp))

    def ended(self, task: str, solved: bool) -> str:
        """Note how the episode went; returns what was done before it."""
        self.past.append(Attempt(task, solved, self._before))
        return self._before

    def save(self, run: Path, episodes: int) -> None:
        """Keep the scene after so many episodes, whole or not at all."""
        left = self.room.scene() if self._left is None else self._left
        write_atomic(run / SCENE, partial(_save, np.append(float(episodes), left)))

    def recall(self, run: Path, past: Sequence[Attempt]) -> bool:
        """Go on after the episodes of the `past`; whether the scene is the one they left.

        Where it was not kept, the first reset is a full one and counts as help by a person.
        """
        self.past, self._lost = list(past), bool(past)
        try:
            kept = np.load(run / SCENE, allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return not self._lost
        if kept.ndim == 1 and kept.size and kept[0] == len(self.past):
            self.room.restore(kept[1:])
            self._left, self._lost = kept[1:] if self.notes_ends else None, False
        return not self._lost

    def _done(self, observation: dict[str, np.ndarray], perhaps: bool = False) -> dict[str, bool]:
        if self.judge is not None:
            return self.judge.done(observation, perhaps)
        return {name: self._truly_done(name) for name in self.schedule.every_task}

    def _truly_done(self, task: str) -> bool:
        return bool(find_task(task).success(self.room.room))


def _save(values: np.ndarray, path: Path) -> None:
    with path.open("wb") as file:  # np.save would add .npy to the name
        np.save(file, values)
