"""The room's geometry, lamps and physics."""

from __future__ import annotations

import numpy as np
import pytest

from robot_learning.contract import Contract
from robot_learning.envs import tasks
from robot_learning.envs.playroom import COLOURS, FURNITURE, Playroom
from robot_learning.envs.scene import SceneError, playroom_spec


@pytest.fixture(scope="module")
def room():
    room = Playroom(Contract.load("ur5e_2f85"))
    tasks.begin(room, tasks.TASKS["grasp_flat"], np.random.default_rng(0))
    return room


@pytest.mark.parametrize("name", FURNITURE)
def test_furniture_frames_and_world_are_inverse(room, name):
    room.place(name, 0.5, -0.1, 0.3)
    point = np.array([0.07, -0.02, 0.05])
    assert room.to_frame(name, room.to_world(name, point)) == pytest.approx(point)
    assert room.pose(name)[1] == pytest.approx(0.3)


def test_the_drawer_opens_towards_the_robot(room):
    room.set_joint("drawer", 0.0)
    room.forward()
    closed = room.to_frame("desk", room.site("drawer_handle"))
    room.set_joint("drawer", 0.1)
    room.forward()
    assert room.to_frame("desk", room.site("drawer_handle")) - closed == pytest.approx([-0.1, 0, 0], abs=1e-9)


@pytest.mark.parametrize("colour", COLOURS)
def test_a_lamp_is_lit_while_its_button_is_pressed_and_springs_back(room, colour):
    lamp = room.model.geom(f"lamp_{colour}").id
    dark = room.model.geom_rgba[lamp].copy()
    room.set_joint(f"button_{colour}", 0.011)
    room.forward()
    assert room.pressed(colour) and room.model.geom_rgba[lamp, :3].sum() > 2 * dark[:3].sum()
    room.settle(1.0)
    assert not room.pressed(colour) and np.array_equal(room.model.geom_rgba[lamp], dark)


def test_upright_and_flat_block(room):
    room.set_block(np.array([0.5, 0.0, 0.06]), 0.4, upright=True)
    assert room.block_axis == pytest.approx([0, 0, 1], abs=1e-9)
    room.set_block(np.array([0.5, 0.0, 0.02]), 0.4)
    assert room.block_axis == pytest.approx([np.cos(0.4), np.sin(0.4), 0], abs=1e-9)


def test_the_block_comes_to_rest_on_the_desk(room):
    tasks.begin(room, tasks.TASKS["grasp_flat"], np.random.default_rng(3))
    room.settle(2.0)
    assert room.block_speed < 1e-3 and room.block[2] == pytest.approx(0.018, abs=2e-3)


def test_a_wild_hand_never_makes_the_physics_diverge(room):
    rng = np.random.default_rng(0)
    for seed in range(3):
        tasks.begin(room, tasks.TASKS["grasp_flat"], np.random.default_rng(seed))
        for tick in range(60):
            down = 1.5 * np.clip((room.block - room.tcp) / 0.03, -1, 1)
            action = np.append(down + rng.normal(0, 0.5, 3), [rng.normal(0, 0.4), np.sign(np.sin(tick / 6))])
            room.step(np.clip(action, -1, 1))
    assert not room.diverged


def test_missing_scene_names_the_file(tmp_path):
    with pytest.raises(SceneError, match=r"nowhere\.xml"):
        playroom_spec(Contract.load("ur5e_2f85"), tmp_path / "nowhere.xml")


def test_scene_without_a_place_for_the_robot_is_refused(tmp_path):
    scene = tmp_path / "bare.xml"
    scene.write_text("<mujoco><worldbody><site name='elsewhere'/></worldbody></mujoco>")
    with pytest.raises(SceneError, match=r"robot_base.*elsewhere"):
        playroom_spec(Contract.load("ur5e_2f85"), scene)


def test_a_scene_that_is_not_mjcf_is_refused(tmp_path):
    scene = tmp_path / "broken.xml"
    scene.write_text("<mujoco><worldbody>")
    with pytest.raises(SceneError, match=r"broken\.xml"):
        playroom_spec(Contract.load("ur5e_2f85"), scene)


def driven(step):
    """Arm and object states of a rollout in which `step(room, action)` carries out random actions."""
    room = Playroom(Contract.load("ur5e_2f85"))
    tasks.begin(room, tasks.TASKS["open_drawer"], np.random.default_rng(6))
    rng, states = np.random.default_rng(7), []
    for _ in range(15):
        step(room, rng.uniform(-1, 1, 5))
        states.append(np.append(room.data.qpos, room.data.qvel))
    return np.array(states)


def by_joint_targets(room, action):
    command = room.controller.step(action, room.joints, room.gripper)
    room.follow(command.joints, command.gripper)


def by_single_physics_steps(room, action):
    command = room.controller.step(action, room.joints, room.gripper)
    room.aim(command.joints)
    room.grip(command.gripper)
    for _ in range(room.tick_steps):
        room.advance(1)
        room.refresh()


@pytest.mark.parametrize("other", [by_joint_targets, by_single_physics_steps])
def test_driving_by_joint_targets_repeats_a_rollout_of_actions_exactly(other):
    assert np.array_equal(driven(Playroom.step), driven(other))


def test_without_interpolation_the_arm_gets_there_sooner():
    distances = []
    for interpolate in (True, False):
        room = Playroom(Contract.load("ur5e_2f85"))
        tasks.begin(room, tasks.TASKS["open_drawer"], np.random.default_rng(6))
        goal = room.joints + 0.1
        room.aim(goal, interpolate)
        room.advance(10)
        distances.append(np.abs(goal - room.joints).max())
    assert distances[1] < 0.8 * distances[0]
