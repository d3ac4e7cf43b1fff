"""The Cartesian controller: holds, integrates, keeps every limit, does not wind up."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from robot_learning.contract import Contract, ContractError
from robot_learning.control.cartesian import CartesianController, Command
from robot_learning.control.kinematics import Kinematics
from robot_learning.control.limits import ActionError

ZERO = np.zeros(5)
SLACK = 5e-3  # a target the joints miss becomes the pose they reach, some mm beside it [m]


@pytest.fixture
def controller(contract: Contract, kinematics: Kinematics) -> CartesianController:
    controller = CartesianController(contract, kinematics)
    controller.reset(contract.joints.home, 0.0)
    return controller


def same(a: Command, b: Command) -> bool:
    arrays = a.joints.tolist() == b.joints.tolist() and a.target_position.tolist() == b.target_position.tolist()
    return arrays and (a.gripper, a.target_yaw) == (b.gripper, b.target_yaw)


def test_reset_commands_what_was_measured(controller: CartesianController, contract: Contract):
    command = controller.reset(np.array(contract.joints.home) + 0.01, 0.3)
    assert command.joints == pytest.approx(np.array(contract.joints.home) + 0.01)
    assert command.gripper == 0.3


def test_a_zero_action_holds_without_drift(controller: CartesianController, contract: Contract):
    home = np.array(contract.joints.home)
    rng = np.random.default_rng(0)
    for _ in range(100):  # measurements that tremble and sag
        command = controller.step(ZERO, home + rng.normal(0.003, 0.003, 6), 0.0)
    assert command.joints.tolist() == home.tolist()
    assert command.clamps == ()


def test_a_zero_action_holds_after_motion(controller: CartesianController, contract: Contract):
    joints = np.array(contract.joints.home)
    for _ in range(5):
        joints = controller.step([0.3, -0.8, 0.2, 0.5, 0.0], joints, 0.0).joints
    held = controller.step(ZERO, joints, 0.0)
    assert np.abs(held.joints - joints).max() < 2e-3  # within the tolerance of the IK
    assert same(controller.step(ZERO, held.joints, 0.0), held)


def test_an_action_moves_the_tool_by_its_scale(controller: CartesianController, contract: Contract):
    before = controller.hold()
    command = controller.step([1.0, -0.5, 0.2, 0.4, 0.6], contract.joints.home, 0.0)
    moved = controller.kinematics.forward(command.joints)
    assert moved.position - before.target_position == pytest.approx([0.03, -0.015, 0.006], abs=1e-3)
    assert moved.yaw - before.target_yaw == pytest.approx(0.1, abs=5e-3)
    assert command.gripper == pytest.approx(0.3)
    assert command.clamps == ()


def test_the_gripper_stays_between_open_and_closed(controller: CartesianController, contract: Contract):
    closings = [controller.step([0, 0, 0, 0, g], contract.joints.home, 0.0).gripper for g in (1, 1, 1, -1, -1, -1)]
    assert closings == [0.5, 1.0, 1.0, 0.5, 0.0, 0.0]


@pytest.mark.parametrize("bad", [[np.nan, 0, 0, 0, 0], [0, 0, 0, 0, np.inf], [0.0] * 4])
def test_a_bad_action_is_refused_and_changes_nothing(controller: CartesianController, contract: Contract, bad: list):
    before = controller.step([0.5, 0, 0, 0, 0.2], contract.joints.home, 0.0)
    with pytest.raises(ActionError):
        controller.step(bad, contract.joints.home, 0.0)
    assert same(controller.hold(), before)


def test_bad_measurements_are_refused_and_change_nothing(controller: CartesianController, contract: Contract):
    before = controller.hold()
    joints = np.array(contract.joints.home)
    joints[2] = np.nan
    with pytest.raises(ActionError, match="elbow_joint = nan"):
        controller.step([1, 0, 0, 0, 0], joints, 0.0)
    with pytest.raises(ActionError, match="gripper = nan"):
        controller.step([1, 0, 0, 0, 0], contract.joints.home, np.nan)
    assert same(controller.hold(), before)


def test_out_of_range_actions_are_clipped_and_named(controller: CartesianController, contract: Contract):
    command = controller.step([9.0, 0, 0, 0, 0], contract.joints.home, 0.0)
    assert command.clamps == ("action dx",)
    assert command.target_position[0] - controller.kinematics.forward(contract.joints.home).position[0] <= 0.03 + 1e-9


def test_the_caller_cannot_change_the_controllers_state(controller: CartesianController, contract: Contract):
    joints = np.array(contract.joints.home)
    controller.reset(joints, 0.0)
    joints += 1.0
    assert controller.hold().joints.tolist() == list(contract.joints.home)


@pytest.mark.parametrize("seed", range(6))
def test_limits_hold_over_random_actions(controller: CartesianController, contract: Contract, seed: int):
    rng = np.random.default_rng(seed)
    limits, box = contract.joints, contract.workspace
    joints, drift = np.array(limits.home), rng.uniform(-1.5, 1.5, 5)
    seen: set[str] = set()
    for tick in range(200):
        if tick % 40 == 0:
            drift = rng.uniform(-1.5, 1.5, 5)
        last = controller.hold()
        command = controller.step(drift + rng.uniform(-1, 1, 5), joints, 0.0)
        seen.update(clamp.split()[0] for clamp in command.clamps)
        assert np.all(np.abs(command.joints - last.joints) <= np.array(limits.velocity) / contract.rate + 1e-8)
        assert np.all(command.joints >= np.array(limits.lower) + limits.margin)
        assert np.all(command.joints <= np.array(limits.upper) - limits.margin)
        assert np.all(command.target_position >= box.lower) and np.all(command.target_position <= box.upper)
        commanded = controller.kinematics.forward(command.joints)
        assert np.all(commanded.position >= np.array(box.lower) - SLACK)
        assert np.all(commanded.position <= np.array(box.upper) + SLACK)
        assert commanded.rotation[2, 2] < -0.999  # upright within 2.5 degrees
        lead = command.target_position - controller.kinematics.forward(joints).position
        assert np.linalg.norm(lead) <= 0.05 + SLACK
        assert 0.0 <= command.gripper <= 1.0
        joints = joints + 0.8 * (command.joints - joints)  # a servo that lags
    assert {"action", "workspace"} <= seen


def test_pushing_against_something_does_not_wind_up(controller: CartesianController, contract: Contract):
    start = controller.kinematics.forward(contract.joints.home)
    for _ in range(50):  # the arm is blocked: the measured joints stay
        pushed = controller.step([1, 0, 0, 1, 0], contract.joints.home, 0.0)
    assert pushed.target_position[0] - start.position[0] == pytest.approx(0.05, abs=1e-6)
    assert pushed.target_yaw - start.yaw == pytest.approx(0.4, abs=1e-6)
    assert pushed.clamps == ("lead position", "lead yaw")
    back = controller.step([-1, 0, 0, -1, 0], contract.joints.home, 0.0)
    assert back.target_position[0] < pushed.target_position[0] - 0.029


def test_yaw_goes_on_across_pi_without_a_flip(controller: CartesianController, contract: Contract):
    joints = np.array(contract.joints.home)
    steps = []
    for _ in range(20):
        command = controller.step([0, 0, 0, 1, 0], joints, 0.0)
        steps.append(np.abs(command.joints - joints).max())
        joints = command.joints
    assert max(steps) <= 0.3 + 1e-9
    assert command.joints[5] == pytest.approx(contract.joints.home[5] - 20 * 0.25, abs=0.01)


def test_starting_outside_the_workspace_a_zero_action_stays_there(controller: CartesianController, contract: Contract):
    joints = np.array(contract.joints.home)
    joints[0] = 2.5  # behind the base
    controller.reset(joints, 0.0)
    assert controller.step(ZERO, joints, 0.0).joints.tolist() == joints.tolist()


def test_another_arm_is_controlled_at_its_own_rate(own_arm: Contract):
    controller = CartesianController(own_arm)
    start = controller.reset(own_arm.joints.home, 0.0)
    joints = start.joints
    for _ in range(5):
        joints = controller.step([0.5, 1, 0, 0, 0], joints, 0.0).joints
    moved = controller.kinematics.forward(joints).position - start.target_position
    assert moved == pytest.approx([0.05, 0.1, 0.0], abs=2e-3)


def test_step_before_reset_is_a_programming_error(contract: Contract, kinematics: Kinematics):
    with pytest.raises(RuntimeError, match="reset"):
        CartesianController(contract, kinematics).step(ZERO, contract.joints.home, 0.0)


def test_an_action_of_another_kind_is_refused(contract: Contract, kinematics: Kinematics):
    action = dataclasses.replace(contract.action, names=("a",), units=("m",), scale=(1.0,))
    with pytest.raises(ContractError, match="needs 5 action entries"):
        CartesianController(dataclasses.replace(contract, action=action), kinematics)


def test_a_tilted_tool_is_brought_upright_slowly(controller: CartesianController, contract: Contract):
    tilted = np.array(contract.joints.home) + np.array([0.0, 0.0, 0.0, 0.3, 0.0, 0.0])
    controller.reset(tilted, 0.0)
    most, joints, tilts = 0.0, tilted, []
    for _ in range(60):
        command = controller.step([0.1, 0.0, 0.0, 0.0, 0.0], joints, 0.0)
        most = max(most, float(np.abs(command.joints - joints).max()))
        joints = command.joints
        tilts.append(controller.kinematics.forward(joints).tilt)
    assert most <= 0.05  # [rad]; at full speed it would be 0.3
    assert tilts[0] > 0.25 and tilts[-1] < 0.05


def test_without_pace_nothing_moves(controller: CartesianController, contract: Contract):
    before = controller.hold()
    assert same(controller.step([1.0, 1.0, 1.0, 1.0, 0.0], contract.joints.home, 0.0, pace=0.0), before)
