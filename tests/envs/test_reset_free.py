"""Practice without resets."""

from __future__ import annotations

import numpy as np
import pytest

from robot_learning.envs.reset_free import ResetFreePlayroomEnv


@pytest.fixture
def env():
    env = ResetFreePlayroomEnv(task="open_drawer")
    env.reset(seed=0)
    return env


def test_reset_leaves_objects_where_they_are_and_takes_the_arm_home(env):
    env.room.set_joint("drawer", 0.08)
    for _ in range(10):
        env.step(np.array([0.5, 0.5, -1, 0, 1], np.float32))
    desk, block, drawer = env.room.pose("desk")[0], env.room.block, env.room.joint("drawer")
    _, info = env.reset()
    assert np.array_equal(env.room.pose("desk")[0], desk)
    assert env.room.block == pytest.approx(block, abs=2e-3)
    assert env.room.joint("drawer") == pytest.approx(drawer, abs=2e-3)
    assert np.linalg.norm(env.room.tcp - (0.40, 0.0, 0.24)) < 0.30
    assert info["interventions"] == 0


@pytest.mark.parametrize("turn", [-1, 1])
def test_reset_unwinds_the_wrist(env, turn):
    for _ in range(30):
        env.step(np.array([0, 0, 0.3, turn, 0], np.float32))
    assert abs(env.room.joints[-1]) > 5, "it is wound up"
    env.reset()
    assert abs(env.room.joints[-1]) < 1.5


def test_a_full_reset_is_counted_as_an_intervention(env):
    desk = env.room.pose("desk")[0]
    _, info = env.reset(options={"full_reset": True})
    assert info["interventions"] == 1
    assert not np.allclose(env.room.pose("desk")[0], desk)


def test_the_task_can_change_without_moving_anything(env):
    env.room.set_joint("drawer", 0.14)
    _, info = env.reset(options={"task": "close_drawer"})
    assert info["task"] == "close_drawer" and not info["is_success"]
    assert env.room.joint("drawer") == pytest.approx(0.14, abs=2e-3)


def test_a_seed_alone_is_no_full_reset(env):
    desk = env.room.pose("desk")[0]
    _, info = env.reset(seed=5)
    assert np.array_equal(env.room.pose("desk")[0], desk) and info["interventions"] == 0


def test_seeded_practice_repeats_exactly():
    ends = []
    for _ in range(2):
        env = ResetFreePlayroomEnv(task="open_drawer")
        for _ in range(3):
            observation, _ = env.reset(seed=4)
            for _ in range(5):
                observation = env.step(np.full(5, 0.3, np.float32))[0]
        ends.append(observation["observation.state"])
    assert np.array_equal(*ends)
