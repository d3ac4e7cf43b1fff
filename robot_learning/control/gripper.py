"""The gripper's opening between 0 (open) and 1 (closed), in the units of its actuator and of its joint."""

from __future__ import annotations

from robot_learning.contract import Contract
from robot_learning.control.robot_model import RobotModelError


def gripper_command(contract: Contract, closing: float) -> float:
    """The simulated actuator's command for a `closing` in [0, 1] (0 open, 1 closed).

    Raises:
        RobotModelError: the contract has no simulation section.
    """
    simulation = contract.simulation
    if simulation is None:
        raise RobotModelError(f"contract {contract.name!r} has no `simulation` section, which names gripper commands")
    opened, closed = simulation.gripper_command_open, simulation.gripper_command_closed
    return opened + min(max(closing, 0.0), 1.0) * (closed - opened)


def gripper_opening(contract: Contract, joint_position: float) -> float:
    """How closed the gripper is, in [0, 1] (0 open, 1 closed), at this position of its joint [rad or m]."""
    opened, closed = contract.gripper.open, contract.gripper.closed
    return min(max((joint_position - opened) / (closed - opened), 0.0), 1.0)
