"""What is read off the recorded object state agrees with the tasks' own predicates."""

import gymnasium
import numpy as np
import pytest

import robot_learning.envs  # noqa: F401  registers the environments
from robot_learning.contract import ENVIRONMENT_STATE
from robot_learning.envs.state_success import STATE_SUCCESS

MOVES = {"drawer": 0.15, "door": 0.17, "button_red": 0.012, "button_green": 0.012, "button_blue": 0.012}


@pytest.mark.parametrize("task", sorted(STATE_SUCCESS))
def test_it_agrees_with_the_simulated_task(task: str) -> None:
    env = gymnasium.make("robot_learning/Playroom-v0", task=task).unwrapped
    env.reset(seed=0)
    rng, states, expected = np.random.default_rng(0), [], []
    for _ in range(40):
        for joint, travel in MOVES.items():
            env.room.set_joint(joint, rng.uniform(0, travel))
        states.append(env.observe()[ENVIRONMENT_STATE])
        expected.append(env.task.success(env.room))
    assert STATE_SUCCESS[task]({ENVIRONMENT_STATE: np.array(states)}).tolist() == expected
    assert 0 < sum(expected) < 40
