"""A mirrored playroom looks like the original to whoever reads it."""

from __future__ import annotations

import numpy as np
import pytest

from robot_learning.contract import Contract
from robot_learning.envs import observation, tasks
from robot_learning.envs.demonstrator import Demonstrator
from robot_learning.envs.mirror import Mirror, MirrorError, room_state
from robot_learning.envs.playroom import Playroom
from robot_learning.envs.rendering import Camera


@pytest.fixture(scope="module")
def contract():
    return Contract.load("ur5e_2f85")


@pytest.fixture(scope="module")
def original(contract):
    return Playroom(contract)


@pytest.fixture(scope="module")
def mirror(contract):
    return Mirror(contract)


def begin(room, name, seed):
    tasks.begin(room, tasks.TASKS[name], np.random.default_rng(seed))


def test_observations_of_the_mirror_equal_the_original_s(original, mirror):
    begin(original, "open_drawer", 4)
    for _ in range(3):
        original.step(np.array([0.5, 0.2, -0.5, 0.3, 1.0]))
    mirror.show(room_state(original))
    assert np.array_equal(observation.proprioception(mirror.room), observation.proprioception(original))
    assert np.array_equal(observation.environment_state(mirror.room), observation.environment_state(original))


def test_pictures_of_the_mirror_equal_the_original_s_lamps_included(original, mirror):
    begin(original, "push_red_button", 1)
    original.set_joint("button_red", 0.011)
    original.forward()
    mirror.show(room_state(original))
    pictures = [Camera(room.model, 64, 64) for room in (original, mirror.room)]
    seen = [camera.render(room.data, "front") for camera, room in zip(pictures, (original, mirror.room), strict=True)]
    assert np.array_equal(seen[0], seen[1])


def test_a_demonstrator_of_the_mirror_solves_the_task_of_the_original(original, mirror):
    begin(original, "open_drawer", 2)
    own, mirrored = (Demonstrator(room, np.random.default_rng(5)) for room in (original, mirror.room))
    mirror.show(room_state(original))
    own.reset("open_drawer")
    mirrored.reset("open_drawer")
    for _ in range(150):
        mirror.show(room_state(original))
        action = mirrored.act()
        assert np.array_equal(action, own.act())
        original.step(action)
        if tasks.TASKS["open_drawer"].success(original):
            break
    assert tasks.TASKS["open_drawer"].success(original)


def test_the_state_of_another_scene_is_refused(mirror):
    with pytest.raises(MirrorError, match=r"ur5e_2f85.*\(7,\)"):
        mirror.show(np.zeros(7))
