"""The robot's controllers as the safety gate writes to them: the arm's and the gripper's command topics."""

from __future__ import annotations

from typing import Any

import numpy as np
from builtin_interfaces.msg import Duration
from rclpy.lifecycle import LifecycleNode
from std_msgs.msg import Float64MultiArray
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from robot_learning.contract import FLOAT64_ARRAY, Contract
from robot_learning.control.rotations import Array
from robot_learning.nodes.base import SECOND, reliable


class Controller:
    """One controller: `Float64MultiArray` for forward_command_controller, `JointTrajectory` for joint_trajectory_controller.

    Args:
        joints: their names; horizon: when a commanded point shall be reached, for trajectories [s].
    """

    def __init__(self, node: LifecycleNode, topic: str, kind: str, joints: tuple[str, ...], horizon: float) -> None:
        self._node, self.topic, self._joints = node, topic, list(joints)
        self._trajectory = kind != FLOAT64_ARRAY
        self._horizon = Duration(sec=int(horizon), nanosec=int(horizon % 1.0 * SECOND))
        self._publisher = node.create_publisher(
            JointTrajectory if self._trajectory else Float64MultiArray, topic, reliable(1)
        )

    def command(self, positions: Array) -> None:
        """Publish joint positions (J,) [rad or m]."""
        values = positions.tolist()
        if self._trajectory:
            point = JointTrajectoryPoint(positions=values, time_from_start=self._horizon)
            self._publisher.publish(JointTrajectory(joint_names=self._joints, points=[point]))
        else:
            self._publisher.publish(Float64MultiArray(data=values))

    def other_writers(self) -> list[str]:
        """The nodes besides this one that publish on the same topic, as far as the graph is known."""
        found = [_full_name(info) for info in self._node.get_publishers_info_by_topic(self.topic)]
        me = self._node.get_fully_qualified_name()
        if me in found:
            found.remove(me)  # once: a second gate of the same name is another writer
        return found

    def destroy(self) -> None:
        """Take the publisher out of the graph."""
        self._node.destroy_publisher(self._publisher)


class Controllers:
    """Arm and gripper of a contract."""

    def __init__(self, node: LifecycleNode, contract: Contract, horizon: float) -> None:
        gripper = contract.gripper
        self._arm = Controller(node, contract.action.topic, contract.action.type, contract.joints.names, horizon)
        self._gripper = Controller(node, gripper.topic, gripper.type, (gripper.joint,), 1.0 / contract.rate)

    def arm(self, joints: Array) -> None:
        """Command the arm's joints (J,) [rad], in the contract's order."""
        self._arm.command(joints)

    def gripper(self, position: float) -> None:
        """Command the gripper's joint [rad or m]."""
        self._gripper.command(np.array([position]))

    def other_writers(self) -> dict[str, list[str]]:
        """For each command topic who else writes on it."""
        return {controller.topic: controller.other_writers() for controller in (self._arm, self._gripper)}

    def destroy(self) -> None:
        """Take the publishers out of the graph."""
        self._arm.destroy()
        self._gripper.destroy()


def _full_name(info: Any) -> str:
    return f"{info.node_namespace.rstrip('/')}/{info.node_name}"
