"""What a batch is made of, and what a replay buffer must have to be learned from."""

from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import Box, Dict

from robot_learning.algorithms.batches import TrainingError
from robot_learning.algorithms.iql import IQL, IQLConfig
from robot_learning.data.replay import ReplayBuffer

from .worlds import INSTRUCTIONS, TASK, PointGoal


class Told(PointGoal):
    """The point, and which of two tasks is asked for."""

    observation_space = Dict({"place": PointGoal.observation_space, TASK: Box(0.0, 1.0, (2,), np.float32)})

    def observe(self) -> Any:
        return {"place": super().observe(), TASK: np.eye(2, dtype=np.float32)[self.task]}


def model(**options: Any) -> IQL:
    config = IQLConfig(hidden=(8, 8))
    return IQL("MultiInputPolicy", Told(), config, **{"batch_size": 8, "instructions": INSTRUCTIONS, **options})


def add_still(replay: Any, task: str) -> None:
    """An episode of a point that rests."""
    zeros = np.zeros((4, 4), np.float32)
    replay.add_episode("prior", {"place": zeros}, np.zeros((3, 2)), np.zeros(3), terminated=False, task=task)


def test_tasks_of_the_data_that_have_no_instruction_are_named() -> None:
    learner = model()
    add_still(learner.replay, "stand on the head")
    with pytest.raises(TrainingError, match=r"'stand on the head'.*'go left', 'go right'"):
        learner.pretrain(steps=1)


@pytest.mark.parametrize("instructions", [(), ("go left",), ("a", "b", "c")])
def test_every_task_of_the_observation_needs_an_instruction(instructions: tuple[str, ...]) -> None:
    with pytest.raises(TrainingError, match=f"instructions: expected 2.*found {len(instructions)}"):
        model(instructions=instructions)


class Frozen:
    """A network whose features stand for pictures."""

    name, size, dtype = "mean", 3, "float32"

    def __call__(self, images: np.ndarray) -> np.ndarray:
        return images.mean((1, 2)).astype(np.float32)


def test_a_buffer_with_features_of_other_networks_is_refused() -> None:
    class Seen(PointGoal):
        observation_space = Dict({"front": Box(0, 255, (6, 6, 3), np.uint8)})

    learner = IQL("MultiInputPolicy", Seen(), IQLConfig(hidden=(8, 8)), frozen={"front": Frozen()})
    plain = ReplayBuffer(Seen.observation_space, Seen.action_space)
    with pytest.raises(TrainingError, match=r"frozen networks.*'mean'"):
        learner.pretrain(plain, steps=1)
