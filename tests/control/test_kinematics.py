"""Forward and inverse kinematics against the whole robot's model and against each other."""

from __future__ import annotations

import dataclasses
import math

import mujoco
import numpy as np
import pytest

from robot_learning.contract import Contract
from robot_learning.control.kinematics import Kinematics
from robot_learning.control.robot_model import RobotModelError, robot_spec
from robot_learning.control.rotations import tool_down, wrap_angle

POSES = 60


def walk(kinematics: Kinematics, position: np.ndarray, yaw: float) -> np.ndarray:
    """Joints after stepping from home to the pose as a controller does, 3 cm and 0.25 rad a tick at most."""
    joints = np.array(kinematics.contract.joints.home)
    start = kinematics.forward(joints)
    ticks = math.ceil(max(np.abs(position - start.position).max() / 0.03, abs(yaw - start.yaw) / 0.25))
    for share in np.linspace(0.0, 1.0, ticks + 1)[1:]:
        at = start.position + share * (position - start.position)
        joints = kinematics.solve(at, start.yaw + share * (yaw - start.yaw), joints)
    return joints


def reached(kinematics: Kinematics, poses: int, seed: int) -> int:
    rng = np.random.default_rng(seed)
    workspace = kinematics.contract.workspace
    count = 0
    for _ in range(poses):
        position, yaw = rng.uniform(workspace.lower, workspace.upper), rng.uniform(-math.pi / 2, math.pi / 2)
        pose = kinematics.forward(walk(kinematics, position, yaw))
        near = np.linalg.norm(pose.position - position) < 1e-3 and abs(wrap_angle(pose.yaw - yaw)) < 5e-3
        count += bool(near and pose.rotation[2, 2] < -0.9999)
    return count


def test_forward_agrees_with_the_whole_robot(contract: Contract, kinematics: Kinematics):
    model = robot_spec(contract).compile()
    data = mujoco.MjData(model)
    for joints in np.random.default_rng(0).uniform(-3.0, 3.0, (20, 6)):
        data.qpos[:6] = joints
        mujoco.mj_kinematics(model, data)
        pose = kinematics.forward(joints)
        assert pose.position == pytest.approx(data.site("pinch").xpos, abs=1e-9)
        assert pose.rotation.ravel() == pytest.approx(data.site("pinch").xmat, abs=1e-9)


def test_home_points_down_with_yaw_zero(contract: Contract, kinematics: Kinematics):
    home = kinematics.forward(contract.joints.home)
    assert home.yaw == pytest.approx(0.0, abs=1e-4)
    assert np.abs(home.quaternion) == pytest.approx(np.abs(tool_down(0.0)), abs=1e-4)


def test_yaw_turns_with_the_base_and_against_the_wrist(contract: Contract, kinematics: Kinematics):
    turned = np.array(contract.joints.home)
    turned[0] += 0.3
    assert kinematics.forward(turned).yaw == pytest.approx(0.3, abs=1e-4)
    turned[5] += 0.3
    assert kinematics.forward(turned).yaw == pytest.approx(0.0, abs=1e-4)


def test_every_pose_of_the_workspace_is_reached_from_home(kinematics: Kinematics):
    assert reached(kinematics, POSES, seed=1) == POSES


def test_a_strangers_seven_joint_arm_reaches_its_workspace(own_arm: Contract):
    kinematics = Kinematics(own_arm)
    assert kinematics.model.nq == 7
    assert reached(kinematics, POSES, seed=2) == POSES


def test_a_seed_at_the_target_is_returned_unchanged(contract: Contract, kinematics: Kinematics):
    joints = np.array(contract.joints.home) + 0.1
    joints[3] -= 0.2  # keeps the tool upright: shoulder lift, elbow and wrist 1 turn about one axis
    joints[3] -= 0.1
    joints[4] -= 0.1
    pose = kinematics.forward(joints)
    assert kinematics.solve(pose.position, pose.yaw, joints).tolist() == joints.tolist()


def test_a_target_out_of_reach_gives_joints_within_their_limits(contract: Contract, kinematics: Kinematics):
    joints = np.array(contract.joints.home)
    for _ in range(30):
        joints = kinematics.solve([3.0, 1.0, 0.0], 2.0, joints)
        assert np.all(joints >= np.array(contract.joints.lower) + contract.joints.margin - 1e-6)
        assert np.all(joints <= np.array(contract.joints.upper) - contract.joints.margin + 1e-6)


def test_joints_in_another_order_than_the_chain_are_an_error(contract: Contract):
    joints = dataclasses.replace(contract.joints, names=contract.joints.names[::-1])
    simulation = dataclasses.replace(contract.simulation, arm_actuators=contract.simulation.arm_actuators[::-1])
    with pytest.raises(RobotModelError, match="serial chain"):
        Kinematics(dataclasses.replace(contract, joints=joints, simulation=simulation))


def test_a_home_that_does_not_point_down_is_an_error(contract: Contract):
    joints = dataclasses.replace(contract.joints, home=(0.0,) * 6)
    with pytest.raises(RobotModelError, match="straight down; it is 90 degrees off"):
        Kinematics(dataclasses.replace(contract, joints=joints))
