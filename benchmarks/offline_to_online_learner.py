"""What every learner of offline_to_online.py is: its budget, its clock, and the calls a job makes."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from offline_to_online_problems import Problem

from robot_learning.envs.task_observation import SeededEpisodes


@dataclass(frozen=True)
class Budget:
    """What every algorithm gets: gradient steps on data, then steps of the environment."""

    offline_steps: int = 5000
    online_steps: int = 20_000
    peer_python: str = ""
    """Interpreter with d3rlpy."""


class Clock:
    """CPU seconds of this process by purpose."""

    def __init__(self) -> None:
        self.seconds = {"updates": 0.0, "environment": 0.0, "evaluation": 0.0, "all": 0.0}
        self.steps = {"updates": 0, "environment": 0}
        self._began = time.process_time()

    @contextlib.contextmanager
    def __call__(self, purpose: str) -> Iterator[None]:
        began = time.process_time()
        yield
        self.seconds[purpose] += time.process_time() - began

    def read(self) -> dict[str, Any]:
        """All figures so far."""
        now = time.process_time()
        self.seconds["all"] += now - self._began
        self._began = now
        return {"seconds": dict(self.seconds), "steps": dict(self.steps)}

    def restore(self, figures: Mapping[str, Any]) -> None:
        """Go on from what `read` returned."""
        self.seconds, self.steps = dict(figures["seconds"]), dict(figures["steps"])


class Timed(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Measures the environment."""

    def __init__(self, env: gymnasium.Env[Any, Any], clock: Clock) -> None:
        super().__init__(env)
        self.clock = clock

    def reset(self, **options: Any) -> tuple[Any, dict[str, Any]]:
        """As the environment's."""
        with self.clock("environment"):
            return self.env.reset(**options)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """As the environment's."""
        self.clock.steps["environment"] += 1
        with self.clock("environment"):
            return self.env.step(action)


class Learner:
    """Base of all; `folder` is the job's own and stays between processes."""

    def __init__(self, problem: Problem, seed: int, budget: Budget, folder: Path) -> None:
        self.problem, self.seed, self.budget, self.folder = problem, seed, budget, folder
        self.clock = Clock()

    def offline(self) -> None:
        """Learn from the data."""

    def online(self, until: int) -> None:
        """Practise until so many steps of the environment are done in all."""

    def begin(self, sample: bool) -> None:
        """An episode of evaluation begins."""

    def act(self, observation: Any, sample: bool) -> np.ndarray:
        """The action of the mean policy, or a sampled one."""
        raise NotImplementedError

    def version(self) -> Any:
        """What stays the same as long as the mean policy does, None where that is not known."""
        return None

    def save(self, folder: Path) -> None:
        """Write what `load` needs to go on."""

    def load(self, folder: Path) -> None:
        """Go on from what `save` wrote."""

    def practice_env(self) -> SeededEpisodes:
        """The environment to practise in; the number of the episode seeds it."""
        return SeededEpisodes(self.problem.tasked(Timed(self.problem.bare(), self.clock)), self.seed)
