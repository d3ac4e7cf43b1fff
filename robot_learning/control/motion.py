"""What the safety gate commands for an accepted action, and what of that action was really carried out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from robot_learning.contract import Contract
from robot_learning.control.cartesian import MAX_LEAD, MAX_YAW_LEAD, CartesianController, Command
from robot_learning.control.gripper import gripper_opening
from robot_learning.control.kinematics import Kinematics
from robot_learning.control.rotations import Array, wrap_angle

LOST = 1.2  # a robot further from its command than this many leads was moved by others, not held up by what it touches
LOST_JOINT = 0.6  # ... and so was one with a joint this far off [rad]: a whole turn leaves the tool in its place
OPEN = 0.1  # a gripper this open [0 open .. 1 closed] holds nothing, whatever was commanded before
GRIPPER_AHEAD = 0.3  # ... if the command was this much more closed


@dataclass(frozen=True)
class Motion:
    """One control step.

    Attributes:
        joints: targets (J,) [rad] in the contract's order; gripper: its joint's target [rad or m].
        sent: the normalised action (A,) really carried out, after all limits.
        clamps: which limits changed it; restarted: the step began at the measured joints.
    """

    joints: Array
    gripper: float
    sent: Array
    clamps: tuple[str, ...] = ()
    restarted: bool = False


class MotionControl:
    """The Cartesian controller behind the gate: restarts where the robot is when it is not where it was sent.

    Raises:
        ContractError, AssetError, RobotModelError: as `CartesianController` and `Kinematics`.
    """

    def __init__(self, contract: Contract, kinematics: Kinematics | None = None) -> None:
        self.contract = contract
        self._controller = CartesianController(contract, kinematics)
        self._scale = np.array(contract.action.scale)
        self._last: Command | None = None

    def warm_up(self) -> None:
        """Solve once, so that the first action is as fast as the others."""
        home = np.array(self.contract.joints.home)
        pose = self._controller.kinematics.forward(home)
        self._controller.kinematics.solve(pose.position + 0.01, pose.yaw, home)

    def step(
        self,
        action: Array,
        joints: Array,
        gripper_position: float,
        resumed: bool,
        restart: bool,
        pace: float = 1.0,
    ) -> Motion:
        """Carry out `action` (A,) in [-1, 1].

        Args:
            joints: measured (J,) [rad]; gripper_position: measured [rad or m].
            resumed: the robot held before; restart: begin at the measured joints, wherever they are.
            pace: share of the joints' velocity limits that may be used, 0 (none) to 1.

        Raises:
            ActionError: an entry or a measurement is NaN, infinite or of the wrong shape; nothing was commanded.
        """
        gripper = gripper_opening(self.contract, gripper_position)
        last, restarted = self._last, False
        opened = resumed and last is not None and self._was_opened(last, gripper)
        if last is None or restart or opened or self._is_lost(last, joints):
            kept = gripper if last is None or opened else last.gripper  # measured, it would drop what it holds
            last, restarted = self._controller.reset(joints, kept), True
        command = self._controller.step(action, joints, gripper, pace)
        self._last = command
        return Motion(
            joints=command.joints,
            gripper=self.contract.gripper.open
            + command.gripper * (self.contract.gripper.closed - self.contract.gripper.open),
            sent=self._carried_out(action, last, command),
            clamps=command.clamps,
            restarted=restarted,
        )

    def _is_lost(self, last: Command, joints: Array) -> bool:
        tcp = self._controller.kinematics.forward(joints)
        away = float(np.linalg.norm(tcp.position - last.target_position))
        turned = abs(wrap_angle(tcp.yaw - last.target_yaw))
        bent = float(np.max(np.abs(joints - last.joints)))
        return away > LOST * MAX_LEAD or turned > LOST * MAX_YAW_LEAD or bent > LOST_JOINT

    def _was_opened(self, last: Command, gripper: float) -> bool:
        return gripper < OPEN and last.gripper > OPEN + GRIPPER_AHEAD

    def _carried_out(self, action: Array, before: Command, after: Command) -> Array:
        """The action itself while no limit changed the tool's way; else what the commanded pose moved by."""
        if not after.clamps:
            return action
        moved = after.target_position - before.target_position
        turned = wrap_angle(after.target_yaw - before.target_yaw)
        return np.append(np.append(moved, turned) / self._scale[:4], action[4])
