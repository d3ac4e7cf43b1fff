"""Proprioception: the robot's own state vector out of a joint_states message, mapped by name."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from robot_learning.contract import STATE, Contract, ContractError
from robot_learning.control.gripper import gripper_opening
from robot_learning.control.kinematics import Kinematics, Pose
from robot_learning.errors import UserError

TCP_NAMES: dict[str, Callable[[Pose], float]] = {
    "tcp.x": lambda pose: float(pose.position[0]),
    "tcp.y": lambda pose: float(pose.position[1]),
    "tcp.z": lambda pose: float(pose.position[2]),
    "tcp.cos_yaw": lambda pose: math.cos(pose.yaw),
    "tcp.sin_yaw": lambda pose: math.sin(pose.yaw),
}
GRIPPER = "gripper.pos"


class JointNamesError(UserError, ValueError):
    """A joint_states message lacks joints of the contract, or its arrays do not fit its names; both sides are listed."""


class Proprioception:
    """`observation.state` from joint names, positions and velocities in any order.

    The elements are those of the contract's `observation.state` names: `<joint>.pos` [rad], `<joint>.vel` [rad/s],
    `gripper.pos` (0 open, 1 closed) and the tool centre point in the base frame, `tcp.x|y|z` [m] and `tcp.cos_yaw|sin_yaw`,
    computed from the joints. Joints the contract does not know (a mobile base, other fingers) are ignored.

    Raises:
        ContractError: the contract has no `observation.state`, or one of its names is none of the above.
    """

    def __init__(self, contract: Contract, kinematics: Kinematics | None = None) -> None:
        if STATE not in contract.observation:
            raise ContractError(
                f"contract {contract.name!r} has no stream {STATE!r}; it has {list(contract.observation)}"
            )
        self.contract = contract
        self.names = contract.observation[STATE].names
        self._joints = contract.joints.names
        self._dtype = contract.observation[STATE].dtype
        valid = [f"{joint}.{quantity}" for quantity in ("pos", "vel") for joint in self._joints]
        valid += [GRIPPER, *TCP_NAMES]
        unknown = [name for name in self.names if name not in valid]
        if unknown:
            raise ContractError(f"contract {contract.name!r}: {STATE}: unknown names {unknown}; valid names: {valid}")
        self._kinematics = kinematics
        if kinematics is None and any(name in TCP_NAMES for name in self.names):
            self._kinematics = Kinematics(contract)
        self._needed = [*self._joints, *([contract.gripper.joint] if GRIPPER in self.names else [])]

    def __call__(
        self, names: Sequence[str], positions: Sequence[float], velocities: Sequence[float] = ()
    ) -> np.ndarray:
        """The state `(n,)` float32; a missing velocity counts as 0.

        Raises:
            JointNamesError: a joint of the contract is not among `names`, a name repeats, or an array is too short.
        """
        index = self._index(names, len(positions), len(velocities))
        values = dict.fromkeys((f"{joint}.vel" for joint in self._joints), 0.0)
        for joint in self._joints:
            values[f"{joint}.pos"] = float(positions[index[joint]])
            if len(velocities):
                values[f"{joint}.vel"] = float(velocities[index[joint]])
        if GRIPPER in self.names:
            values[GRIPPER] = gripper_opening(self.contract, float(positions[index[self.contract.gripper.joint]]))
        if self._kinematics is not None:
            pose = self._kinematics.forward([values[f"{joint}.pos"] for joint in self._joints])
            values |= {name: value(pose) for name, value in TCP_NAMES.items()}
        return np.array([values[name] for name in self.names], dtype=self._dtype)

    def _index(self, names: Sequence[str], positions: int, velocities: int) -> dict[str, int]:
        index = {name: i for i, name in enumerate(names)}
        missing = [name for name in self._needed if name not in index]
        if missing:
            raise JointNamesError(f"expected the joints {self._needed}, found {list(names)}; missing {missing}")
        if len(index) < len(names):
            raise JointNamesError(f"expected each joint once, found {list(names)}")
        if positions != len(names) or velocities not in (0, len(names)):
            raise JointNamesError(
                f"expected {len(names)} positions and as many or no velocities for the joints {list(names)}, "
                f"found {positions} and {velocities}"
            )
        return index
