"""Success predicates and starts of the 18 tasks."""

from __future__ import annotations

import numpy as np
import pytest

from robot_learning.contract import Contract
from robot_learning.envs import furnishing, tasks
from robot_learning.envs.playroom import Playroom
from robot_learning.envs.tasks import TASKS


@pytest.fixture(scope="module")
def room():
    return Playroom(Contract.load("ur5e_2f85"))


def lay(room, x, y, z=0.019, yaw=0.0, upright=False):
    """Put the block at a point of the desk's frame."""
    room.set_block(room.to_world("desk", (x, y, z)), room.pose("desk")[1] + yaw, upright)
    room.forward()


# What a person would have to do to the objects for each task to be done.
DONE = {
    "grasp_lift": lambda room: lay(room, 0.08, -0.13),
    "grasp_upright": lambda room: lay(room, 0.08, 0.0, 0.12, upright=True),
    "grasp_flat": lambda room: lay(room, 0.08, 0.0, 0.10),
    "open_sliding": lambda room: room.set_joint("door", 0.16),
    "close_sliding": lambda room: room.set_joint("door", 0.0),
    "open_drawer": lambda room: room.set_joint("drawer", 0.14),
    "close_drawer": lambda room: room.set_joint("drawer", 0.0),
    "sweep_object": lambda room: lay(room, -0.08, -0.13, furnishing.DRAWER_FLOOR + 0.02),
    "knock_object": lambda room: lay(room, 0.08, 0.0),
    "push_red_button": lambda room: room.set_joint("button_red", 0.011),
    "push_green_button": lambda room: room.set_joint("button_green", 0.011),
    "push_blue_button": lambda room: room.set_joint("button_blue", 0.011),
    "rotate_left": lambda room: lay(room, 0.08, 0.0, yaw=np.pi / 2),
    "rotate_right": lambda room: lay(room, 0.08, 0.0, yaw=-np.pi / 2),
    "sweep_left": lambda room: lay(room, 0.08, 0.12),
    "sweep_right": lambda room: lay(room, 0.08, -0.12),
    "put_into_shelf": lambda room: room.set_block(room.to_world("shelf", (0.08, 0.0, 0.039)), np.pi / 2),
    "pull_out_of_shelf": lambda room: lay(room, 0.08, 0.0),
}


def test_there_are_the_18_tasks_of_learning_latent_plans_from_play():
    assert set(TASKS) == set(DONE) and len(TASKS) == 18


@pytest.mark.parametrize("name", TASKS)
def test_a_task_is_undone_at_the_start_and_done_when_the_objects_say_so(room, name):
    for seed in range(5):
        tasks.begin(room, TASKS[name], np.random.default_rng(seed))
        assert not TASKS[name].success(room)
        DONE[name](room)
        room.forward()
        assert TASKS[name].success(room)


@pytest.mark.parametrize("name", [name for name, task in TASKS.items() if task.reverse])
def test_reverse_tasks_undo_each_other(room, name):
    reverse = TASKS[TASKS[name].reverse]
    assert reverse.reverse == name
    tasks.begin(room, TASKS[name], np.random.default_rng(0))
    DONE[name](room)
    room.forward()
    assert not reverse.success(room)


def test_every_instruction_and_question_is_its_own():
    assert len({task.instruction for task in TASKS.values()}) == 18
    assert all(task.question.endswith("?") for task in TASKS.values())


@pytest.mark.parametrize("name", TASKS)
def test_doing_nothing_is_no_success(room, name):
    tasks.begin(room, TASKS[name], np.random.default_rng(1))
    room.settle(1.0)
    assert not TASKS[name].success(room)


def test_a_lying_block_is_neither_lifted_nor_upright(room):
    tasks.begin(room, TASKS["grasp_flat"], np.random.default_rng(0))
    lay(room, 0.08, 0.0)
    assert tasks.on_desk(room) and tasks.is_flat(room) and not tasks.is_upright(room)
    assert not TASKS["grasp_flat"].success(room)


def test_lifting_the_block_in_the_shelf_is_not_putting_it_there(room):
    tasks.begin(room, TASKS["put_into_shelf"], np.random.default_rng(0))
    room.set_block(room.to_world("shelf", (0.08, 0.0, 0.09)), np.pi / 2)
    room.forward()
    assert not TASKS["put_into_shelf"].success(room)


def test_start_poses_spread_over_centimetres_and_degrees(room):
    poses = []
    for seed in range(40):
        tasks.begin(room, TASKS["open_drawer"], np.random.default_rng(seed))
        poses.append([*room.site("drawer_handle")[:2], room.pose("desk")[1]])
    assert np.all(np.ptp(poses, axis=0) > (0.04, 0.06, np.deg2rad(10)))


def test_the_arm_starts_clear_of_everything(room):
    for seed in range(10):
        tasks.begin(room, TASKS["put_into_shelf"], np.random.default_rng(seed))
        assert not room.robot_touches()
