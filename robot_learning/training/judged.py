"""An environment in which a reward model judges, from the pictures alone, whether the task is done."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np

from robot_learning.contract import IMAGE_PREFIX
from robot_learning.envs.tasks import task as find_task
from robot_learning.rewards import RewardModel
from robot_learning.training.practice_schedule import PERHAPS
from robot_learning.training.run_state import RunError


class Judged(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Reward, end and `info["is_success"]` are what the reward model says; the simulator's own verdict is not used.

    A task is done when its question has been answered yes for `consecutive` frames in a row, after no for as many: what seems
    done from the first picture on was not done in this episode, and the answer may be wrong. Where the task that undoes it is
    among the `tasks`, a picture in which both seem to be done shows neither. `info["true_success"]` keeps what the environment
    below says, for statistics and nothing else.

    Args:
        env: whose `info["task"]` names a task of the playroom, and which observes the cameras of the model.
        tasks: those whose questions will be asked.

    Raises:
        RunError: the model does not know a task's question, or looks through a camera that is not observed.
    """

    def __init__(
        self, env: gymnasium.Env[Any, Any], reward: RewardModel, tasks: Sequence[str], consecutive: int = 2
    ) -> None:
        super().__init__(env)
        self.reward, self.consecutive = reward, consecutive
        self.columns = {name: _column(reward, name) for name in tasks}
        seen = self.observation_space.spaces  # type: ignore[attr-defined]
        blind = [camera for camera in reward.cameras if IMAGE_PREFIX + camera not in seen]
        if blind:
            raise RunError(
                f"the reward model looks through {list(reward.cameras)}, but {blind} is not observed (--cameras)"
            )
        self._yes = self._no = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """As the environment's; the next step is the first that is judged."""
        observation, info = self.env.reset(seed=seed, options=options)
        self._yes = self._no = 0
        return observation, {**info, "is_success": False, "true_success": bool(info["is_success"])}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """As the environment's, judged by the picture that it led to."""
        observation, _, _, truncated, info = self.env.step(action)
        yes = self.done(observation)[info["task"]]
        self._yes = self._yes + 1 if yes else 0
        if self._no < self.consecutive:
            self._no = 0 if yes else self._no + 1
        success = self._yes >= self.consecutive and self._no >= self.consecutive
        told = {**info, "is_success": success, "true_success": bool(info["is_success"])}
        return observation, float(success), success, truncated, told

    def done(self, observation: dict[str, np.ndarray], perhaps: bool = False) -> dict[str, bool]:
        """Which of the tasks are done in this one picture; `perhaps`: also those that may be, for all the model is sure of."""
        pictures = {camera: observation[IMAGE_PREFIX + camera] for camera in self.reward.cameras}
        said, threshold = self.reward.probabilities(pictures), self.reward.threshold
        sure = {name: bool(said[column] >= threshold) for name, column in self.columns.items()}
        enough = PERHAPS * threshold if perhaps else threshold
        return {
            name: bool(said[column] >= enough) and not sure.get(find_task(name).reverse or "", False)
            for name, column in self.columns.items()
        }


def _column(reward: RewardModel, name: str) -> int:
    question = find_task(name).question
    if question not in reward.questions:
        raise RunError(
            f"task {name!r}: the reward model does not know {question!r}; it knows {list(reward.questions)} "
            f"(robot-learning reward train --ask {name} ...)"
        )
    return reward.questions.index(question)
