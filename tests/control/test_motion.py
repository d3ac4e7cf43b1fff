"""What an accepted action commands: from where, and what of it is reported as carried out."""

from __future__ import annotations

import math

import numpy as np
import pytest

from robot_learning.contract import Contract
from robot_learning.control.kinematics import Kinematics
from robot_learning.control.limits import ActionError
from robot_learning.control.motion import Motion, MotionControl

FORWARD = np.array([0.5, 0.0, 0.0, 0.0, 0.0])
CLOSE = np.array([0.0, 0.0, 0.0, 0.0, 1.0])


class Arm:
    """A robot that is at once where it is commanded to be."""

    def __init__(self, contract: Contract, kinematics: Kinematics) -> None:
        self.control, self.kinematics = MotionControl(contract, kinematics), kinematics
        self.joints, self.gripper = np.array(contract.joints.home), 0.0

    def step(self, action: np.ndarray, resumed: bool = False, restart: bool = False, pace: float = 1.0) -> Motion:
        motion = self.control.step(action, self.joints, self.gripper, resumed, restart, pace)
        self.joints, self.gripper = motion.joints, motion.gripper
        return motion

    @property
    def x(self) -> float:
        return float(self.kinematics.forward(self.joints).position[0])


@pytest.fixture
def arm(contract: Contract, kinematics: Kinematics) -> Arm:
    return Arm(contract, kinematics)


def test_the_first_action_starts_at_the_measured_joints(arm: Arm):
    before = arm.x
    assert arm.step(FORWARD).restarted
    assert arm.x - before == pytest.approx(0.015, abs=1e-3)
    assert not arm.step(FORWARD).restarted


def test_without_a_limit_in_the_way_the_sent_action_is_the_action(arm: Arm):
    motion = arm.step(np.array([0.3, -0.2, 0.1, 0.4, 1.0]))
    assert motion.clamps == ()
    assert motion.sent.tolist() == [0.3, -0.2, 0.1, 0.4, 1.0]


def test_at_the_workspace_the_sent_action_is_what_was_left_of_it(arm: Arm, contract: Contract):
    for _ in range(40):
        motion = arm.step(2 * FORWARD)
    assert "workspace x" in motion.clamps
    assert motion.sent == pytest.approx([0.0, 0.0, 0.0, 0.0, 0.0], abs=0.05)
    assert arm.x <= contract.workspace.upper[0] + 2e-3


def test_a_robot_moved_away_is_started_where_it_is(arm: Arm):
    arm.step(FORWARD)
    away = arm.joints + np.array([0.3, 0.0, 0.0, 0.0, 0.0, 0.0])
    arm.joints = away
    motion = arm.step(np.zeros(5))
    assert motion.restarted
    assert motion.joints == pytest.approx(away, abs=2e-3)


def test_after_a_short_hold_the_command_goes_on_where_it_was(arm: Arm):
    commanded = arm.step(FORWARD).joints
    arm.joints = commanded + 0.005  # sags
    motion = arm.step(np.zeros(5), resumed=True)
    assert not motion.restarted
    assert motion.joints.tolist() == commanded.tolist()


def test_a_restart_takes_the_measured_joints_however_near(arm: Arm):
    arm.step(FORWARD)
    arm.joints = arm.joints + 0.005
    measured = arm.joints
    assert arm.step(np.zeros(5), restart=True).joints == pytest.approx(measured, abs=2e-3)


def test_a_restart_keeps_hold_of_what_is_gripped(arm: Arm):
    for _ in range(3):
        arm.step(CLOSE)
    arm.gripper = 0.4  # stopped by the object
    assert arm.step(np.zeros(5), restart=True).gripper == pytest.approx(0.8)


def test_a_gripper_opened_by_others_is_not_closed_on_resuming(arm: Arm):
    for _ in range(3):
        arm.step(CLOSE)
    arm.gripper = 0.0
    assert arm.step(np.zeros(5), resumed=True).gripper == 0.0


def test_a_slow_gripper_is_not_mistaken_for_an_opened_one(arm: Arm):
    arm.step(CLOSE)
    arm.gripper = 0.0  # not moved yet
    assert arm.step(CLOSE).gripper == pytest.approx(0.8)


def test_nan_changes_nothing(arm: Arm):
    commanded = arm.step(FORWARD).joints
    with pytest.raises(ActionError, match="dx"):
        arm.step(np.array([math.nan, 0.0, 0.0, 0.0, 0.0]))
    assert arm.step(np.zeros(5)).joints.tolist() == commanded.tolist()


def test_a_joint_turned_all_the_way_round_is_not_turned_back_in_one_tick(arm: Arm):
    """The tool is where it was sent."""
    arm.step(FORWARD)
    arm.joints = arm.joints + np.array([0.0, 0.0, 0.0, 0.0, 0.0, 2 * math.pi])
    measured = arm.joints
    motion = arm.step(FORWARD, resumed=True)
    assert motion.restarted
    assert np.abs(motion.joints - measured).max() < 0.3


def test_a_tool_turned_by_others_is_started_where_it_is(arm: Arm):
    arm.step(FORWARD)
    arm.joints = arm.joints + np.array([0.0, 0.0, 0.0, 0.0, 0.0, 0.55])
    assert arm.step(np.zeros(5)).restarted


def test_a_slower_pace_leaves_the_joints_less_speed(arm: Arm, contract: Contract):
    arm.step(np.zeros(5))
    before = arm.joints
    motion = arm.step(np.array([1.0, 1.0, 1.0, 1.0, 0.0]), pace=0.02)
    assert np.abs(motion.joints - before).max() <= 0.02 * max(contract.joints.velocity) / contract.rate + 1e-9
    assert motion.clamps
