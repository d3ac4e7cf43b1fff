"""Several tasks in one environment: a new one each episode, told to the policy as a one-hot vector."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Dict

from robot_learning.envs.tasks import task as find_task

TASK = "task"


class TaskObservation(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Gives the tasks in turn, one an episode, and adds `task` to the observation: `(n,)` float32, 1 at the task's place.

    The place is that of the task's instruction among the sorted instructions of `tasks`. `reset(options={"task": name})`
    chooses a task for that episode. With a single task nothing is added, and every episode is of that task.

    Args:
        env: an environment whose `reset` takes the option `task` and whose `info` has the `instruction`.
        tasks: names of tasks ("open_drawer"); instructions: theirs, where they are not the playroom's.

    Raises:
        UnknownTaskError: there is no such task.
    """

    def __init__(
        self, env: gymnasium.Env[Any, Any], tasks: Sequence[str], instructions: Sequence[str] | None = None
    ) -> None:
        super().__init__(env)
        self.tasks = list(tasks)
        self.instructions = sorted(instructions or {find_task(name).instruction for name in self.tasks})
        self.episodes = 0
        if len(self.tasks) > 1:
            spaces = dict(env.observation_space.spaces)  # type: ignore[attr-defined]
            self.observation_space = Dict({**spaces, TASK: Box(0.0, 1.0, (len(self.tasks),), np.float32)})

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode of the next task."""
        options = dict(options or {})
        options.setdefault("task", self.tasks[self.episodes % len(self.tasks)])
        self.episodes += 1
        observation, info = self.env.reset(seed=seed, options=options)
        return self._with_task(observation, info), info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """As the environment's, with the task in the observation."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        return self._with_task(observation, info), reward, terminated, truncated, info

    def _with_task(self, observation: dict[str, np.ndarray], info: dict[str, Any]) -> dict[str, np.ndarray]:
        if len(self.tasks) == 1:
            return observation
        place = np.zeros(len(self.tasks), np.float32)
        place[self.instructions.index(info["instruction"])] = 1.0
        return {**observation, TASK: place}


class SeededEpisodes(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Seeds every episode by its number, so that training which was interrupted goes on with the very next start.

    Attributes:
        episode: the number of the next episode; set it before `reset` to go on from there.
    """

    def __init__(self, env: gymnasium.Env[Any, Any], seed: int) -> None:
        super().__init__(env)
        self.seed, self.episode = seed, 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin the next episode; a `seed` that is given is not used, as the number of the episode decides."""
        sequence = np.random.SeedSequence((self.seed, self.episode))
        self.episode += 1
        return self.env.reset(seed=int(sequence.generate_state(1)[0] >> 1), options=options)
