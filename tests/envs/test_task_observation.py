"""Tasks in turn as a one-hot vector, and episodes seeded by their number."""

import gymnasium
import numpy as np
import pytest

import robot_learning.envs  # noqa: F401  registers the environments
from robot_learning.envs.task_observation import TASK, SeededEpisodes, TaskObservation
from robot_learning.envs.tasks import UnknownTaskError

TASKS = ["open_drawer", "close_drawer"]


def playroom() -> gymnasium.Env:
    return gymnasium.make("robot_learning/Playroom-v0")


def test_tasks_come_in_turn_and_are_observed() -> None:
    env = TaskObservation(playroom(), TASKS)
    assert env.instructions == ["close the drawer", "open the drawer"]
    for expected in ([0, 1], [1, 0], [0, 1]):
        observation, info = env.reset(seed=0)
        assert observation[TASK].tolist() == expected
        assert env.step(np.zeros(5, np.float32))[0][TASK].tolist() == expected
        assert info["instruction"] == env.instructions[int(observation[TASK].argmax())]


def test_one_task_adds_nothing() -> None:
    env = TaskObservation(playroom(), ["close_drawer"])
    observation, info = env.reset(seed=0)
    assert TASK not in observation and TASK not in env.observation_space.spaces
    assert info["task"] == "close_drawer"


def test_a_task_can_be_asked_for() -> None:
    env = TaskObservation(playroom(), TASKS)
    observation, info = env.reset(seed=0, options={"task": "close_drawer"})
    assert info["task"] == "close_drawer" and observation[TASK].tolist() == [1, 0]


def test_an_unknown_task_is_refused_at_once() -> None:
    with pytest.raises(UnknownTaskError, match="make_tea"):
        TaskObservation(playroom(), ["open_drawer", "make_tea"])


def test_observations_are_in_their_space() -> None:
    env = TaskObservation(playroom(), TASKS)
    assert env.observation_space.contains(env.reset(seed=0)[0])
    assert env.observation_space.contains(env.step(np.zeros(5, np.float32))[0])


def starts(env: SeededEpisodes, count: int) -> list[np.ndarray]:
    return [env.reset()[0]["observation.environment_state"] for _ in range(count)]


def test_an_episode_s_number_decides_its_start() -> None:
    first = starts(SeededEpisodes(playroom(), seed=3), 3)
    later = SeededEpisodes(playroom(), seed=3)
    later.episode = 2
    assert np.array_equal(starts(later, 1)[0], first[2])
    assert not np.array_equal(first[0], first[1])


def test_another_seed_has_other_starts() -> None:
    assert not np.array_equal(starts(SeededEpisodes(playroom(), 3), 1)[0], starts(SeededEpisodes(playroom(), 4), 1)[0])
