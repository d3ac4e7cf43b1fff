"""Pictures taken beside the physics."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from robot_learning.contract import Contract
from robot_learning.envs.mirror import room_state
from robot_learning.envs.playroom_env import PlayroomEnv
from robot_learning.envs.rendering import RenderingError
from robot_learning.nodes.simulation.photographer import Photographer


@pytest.fixture(scope="module")
def env():
    env = PlayroomEnv(cameras=("front", "wrist"), image_size=48)
    yield env
    env.close()


@pytest.fixture
def photographer(env):
    taken = []
    photographer = Photographer(env.room.contract, {"front": (48, 48), "wrist": (48, 48)}, lambda *p: taken.append(p))
    photographer.taken = taken
    yield photographer
    photographer.close()


def test_pictures_equal_those_of_the_environment(env, photographer):
    observation, _ = env.reset(seed=5)
    photographer.take(room_state(env.room), ("front", "wrist"), 123, wait=True)
    assert [(name, stamp) for name, _, stamp in photographer.taken] == [("front", 123), ("wrist", 123)]
    for name, picture, _ in photographer.taken:
        assert np.array_equal(picture, observation[f"observation.images.{name}"])


def test_while_busy_further_pictures_are_not_taken(env, photographer):
    gate = threading.Event()
    photographer._deliver = lambda *_: gate.wait(20)
    state = room_state(env.room)
    assert photographer.take(state, ("front",), 1)
    assert not photographer.take(state, ("front",), 2)
    gate.set()


def test_an_error_on_the_way_comes_out_at_the_next_picture(env, photographer):
    def fail(*_):
        raise RuntimeError("no ink")

    photographer._deliver = fail
    with pytest.raises(RuntimeError, match="no ink"):
        photographer.take(room_state(env.room), ("front",), 1, wait=True)


def test_an_unknown_camera_lists_those_there_are(env):
    with pytest.raises(RenderingError, match=r"'side'.*'front'.*'wrist'"):
        Photographer(Contract.load("ur5e_2f85"), {"side": (48, 48)}, lambda *_: None)
