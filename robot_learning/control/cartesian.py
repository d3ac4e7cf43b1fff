"""Cartesian increments to joint targets: the way of every action, in simulation and on the robot."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from robot_learning.contract import Contract, ContractError
from robot_learning.control.gripper import gripper_command, gripper_opening
from robot_learning.control.kinematics import Kinematics
from robot_learning.control.limits import (
    checked_vector,
    clamp_angle,
    clamp_distance,
    clamp_joint_positions,
    clamp_joint_velocity,
    clamp_workspace,
    clip_action,
    joint_velocity_excess,
)
from robot_learning.control.rotations import Array, wrap_angle

__all__ = ["CartesianController", "Command", "gripper_command", "gripper_opening"]

ACTION_SIZE = 5  # dx, dy, dz, dyaw, gripper
MAX_LEAD = 0.05  # [m]
MAX_YAW_LEAD = 0.4  # [rad]
REACHED = 1e-3  # joints that miss the commanded pose by more than this [m] make it the pose they reach
YAW_REACHED = 5e-3  # [rad]
TILTED = 0.05  # a tool this far from pointing down was left so by others [rad] ...
UPRIGHTING = 0.1  # ... and is brought upright with this share of the joints' speed at most
OUTSIDE = 2e-3  # joints that take the tool further out of the workspace than this [m] are not commanded


@dataclass(frozen=True)
class Command:
    """What one control tick asks of the robot.

    Attributes:
        joints: targets (J,) [rad], in the contract's order; gripper: 0 open to 1 closed.
        target_position: commanded tool position (3,) in base [m]; target_yaw: its yaw in (-pi, pi] [rad].
        clamps: what was changed to keep the limits, e.g. ("workspace x", "velocity elbow_joint").
    """

    joints: Array
    gripper: float
    target_position: Array
    target_yaw: float
    clamps: tuple[str, ...] = ()


class CartesianController:
    """Integrates actions (dx, dy, dz, dyaw, gripper) into a commanded pose and solves it for joint targets.

    Increments add to the last *commanded* pose, so that a zero action holds without drift. The commanded pose may lead
    the measured one by `max_lead` [m] and `max_yaw_lead` [rad] only, and is never one that the joints cannot follow:
    neither pushing against something nor reaching too far winds up.

    Raises:
        ContractError: the contract's action is not these five increments.
    """

    def __init__(
        self,
        contract: Contract,
        kinematics: Kinematics | None = None,
        max_lead: float = MAX_LEAD,
        max_yaw_lead: float = MAX_YAW_LEAD,
    ) -> None:
        if len(contract.action.names) != ACTION_SIZE:
            raise ContractError(
                f"contract {contract.name!r}: Cartesian control needs {ACTION_SIZE} action entries "
                f"(dx, dy, dz, dyaw, gripper), found {list(contract.action.names)}"
            )
        self.contract = contract
        self.kinematics = kinematics or Kinematics(contract)
        self.max_lead = max_lead
        self.max_yaw_lead = max_yaw_lead
        self._scale = np.array(contract.action.scale)
        self._command: Command | None = None
        self._tilted = False  # by others, before the last `reset`

    def reset(self, joints: ArrayLike, gripper: float) -> Command:
        """Start from the measured `joints` (J,) [rad] and `gripper` (0 open, 1 closed): they are the command now.

        Raises:
            ActionError: a measurement has the wrong shape or is not finite.
        """
        measured = self._checked_joints(joints)
        closing = float(checked_vector([gripper], ("gripper",), "measured gripper")[0])
        pose = self.kinematics.forward(measured)
        self._tilted = pose.tilt > TILTED
        self._command = Command(measured, min(max(closing, 0.0), 1.0), pose.position, pose.yaw)
        return self._command

    def hold(self) -> Command:
        """The last command again.

        Raises:
            RuntimeError: nothing was commanded yet.
        """
        return replace(self._last(), clamps=())

    def step(self, action: ArrayLike, joints: ArrayLike, gripper: float, pace: float = 1.0) -> Command:
        """The command for one control tick. A tilted tool is brought upright on the way, slowly.

        Args:
            action: (5,) in [-1, 1], times the contract's scale: dx dy dz [m] in base, dyaw [rad], gripper (share of its
                travel, + closes).
            joints: measured (J,) [rad]; gripper: measured, 0 open to 1 closed.
            pace: share of the joints' velocity limits that may be used, 0 (none) to 1.

        Raises:
            ActionError: an entry is NaN or infinite, or a shape is wrong. The command stays what it was.
            RuntimeError: `reset` was not called before.
        """
        last = self._last()
        clipped = clip_action(action, self.contract.action)
        measured = self._checked_joints(joints)
        checked_vector([gripper], ("gripper",), "measured gripper")
        increment = clipped.value * self._scale
        position, yaw, pose_clamps = self._target(last, increment, measured)
        closing = min(max(last.gripper + float(increment[4]), 0.0), 1.0)
        command = self._follow(last, position, yaw, pace)
        clamps = clipped.clamps + pose_clamps + command.clamps
        self._command = replace(command, gripper=closing, clamps=clamps)
        return self._command

    def _target(self, last: Command, increment: Array, measured: Array) -> tuple[Array, float, tuple[str, ...]]:
        """The pose this action asks for, within the leash and the workspace."""
        tcp = self.kinematics.forward(measured)
        led = clamp_distance(last.target_position + increment[:3], tcp.position, self.max_lead, "lead position")
        boxed = clamp_workspace(led.value, last.target_position, self.contract.workspace)
        wanted_yaw = wrap_angle(last.target_yaw + float(increment[3]))
        yaw, yaw_clamps = clamp_angle(wanted_yaw, tcp.yaw, self.max_yaw_lead, "lead yaw")
        return boxed.value, yaw, led.clamps + yaw_clamps + boxed.clamps

    def _follow(self, last: Command, position: Array, yaw: float, pace: float) -> Command:
        """Joint targets on the way to the pose, as far as their limits allow in one tick, and the pose they reach."""
        if pace <= 0.0 or (np.array_equal(position, last.target_position) and yaw == last.target_yaw):
            return replace(last, clamps=())
        self._tilted = self._tilted and self.kinematics.forward(last.joints).tilt > TILTED
        if self._tilted:
            pace = min(pace, UPRIGHTING)
        limits, period = self.contract.joints, pace / self.contract.rate  # in so short a time a joint goes its share
        solved = clamp_joint_positions(self.kinematics.solve(position, yaw, last.joints), last.joints, limits)
        paced = clamp_joint_velocity(solved.value, last.joints, limits, period)
        if paced.clamps:  # shorten the step of the tool instead of the joints': the tool stays on its line, and upright
            share = 0.98 / joint_velocity_excess(solved.value, last.joints, limits, period)
            position = last.target_position + share * (position - last.target_position)
            yaw = wrap_angle(last.target_yaw + share * wrap_angle(yaw - last.target_yaw))
            shorter = self.kinematics.solve(position, yaw, last.joints)
            solved = replace(solved, value=clamp_joint_positions(shorter, last.joints, limits).value)
            joints = clamp_joint_velocity(solved.value, last.joints, limits, period).value
        else:
            joints = paced.value
        clamps = solved.clamps + paced.clamps
        reached = self.kinematics.forward(joints)
        if np.linalg.norm(reached.position - position) > REACHED or abs(wrap_angle(reached.yaw - yaw)) > YAW_REACHED:
            clamps += ("reach",)
            position = clamp_workspace(reached.position, last.target_position, self.contract.workspace).value
            yaw = reached.yaw
            if np.linalg.norm(reached.position - position) > OUTSIDE:
                return replace(last, clamps=clamps)
        return Command(joints, last.gripper, position, yaw, clamps)

    def _checked_joints(self, joints: ArrayLike) -> Array:
        measured: Array = checked_vector(joints, self.contract.joints.names, "measured joints").copy()
        return measured

    def _last(self) -> Command:
        if self._command is None:
            raise RuntimeError("CartesianController: call reset(joints, gripper) with the measured state first")
        return self._command
