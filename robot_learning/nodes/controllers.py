"""The robot's controllers as the safety gate writes to them: the arm's and the gripper's command topics."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from typing import Any

import numpy as np
from builtin_interfaces.msg import Duration
from rclpy.lifecycle import LifecycleNode
from std_msgs.msg import Float64MultiArray
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from robot_learning.contract import FLOAT64_ARRAY, Contract
from robot_learning.control.rotations import Array
from robot_learning.control.writers import WriterWatch
from robot_learning.nodes.base import SECOND, reliable, sensor
from robot_learning.nodes.events import subscribe_with_match
from robot_learning.nodes.writers_of import others_who_write


class Controller:
    """One controller: `Float64MultiArray` for forward_command_controller, `JointTrajectory` for joint_trajectory_controller.

    What is sent on its topic is listened to as well: a command that is not the gate's shows up a second writer.

    Args:
        joints: their names; horizon: when a commanded point shall be reached, for trajectories [s].
        watch: told of every command sent and heard, and of the writers that the graph shows.
        alarm: called when somebody else begins to send, and when the middleware says that writers came or went.
    """

    def __init__(
        self,
        node: LifecycleNode,
        topic: str,
        kind: str,
        joints: tuple[str, ...],
        horizon: float,
        watch: WriterWatch,
        alarm: Callable[[], None],
    ) -> None:
        self._node, self.topic, self._joints = node, topic, list(joints)
        self._watch, self._alarm = watch, alarm
        self._trajectory = kind != FLOAT64_ARRAY
        self._horizon = Duration(sec=int(horizon), nanosec=int(horizon % 1.0 * SECOND))
        message_type = JointTrajectory if self._trajectory else Float64MultiArray
        self._publisher = node.create_publisher(message_type, topic, reliable(1))
        # a reliable subscription does not hear best-effort writers, a best-effort one may miss a message: hence both
        self._subscriptions = [
            node.create_subscription(message_type, topic, self._hear, reliable(5)),
            subscribe_with_match(node, message_type, topic, self._hear, sensor(5), alarm),
        ]

    def command(self, positions: Array) -> None:
        """Publish joint positions (J,) [rad or m]."""
        values = positions.tolist()
        if self._trajectory:
            point = JointTrajectoryPoint(positions=values, time_from_start=self._horizon)
            message = JointTrajectory(joint_names=self._joints, points=[point])
        else:
            message = Float64MultiArray(data=values)
        self._watch.sent(self.topic, _content(message))
        self._publisher.publish(message)

    def poll(self) -> None:
        """Look at the graph: who else is a writer of the topic."""
        self._watch.graph(self.topic, others_who_write(self._node, self.topic))

    def _hear(self, message: Any) -> None:
        if self._watch.heard(self.topic, _content(message), time.monotonic_ns()):
            self._alarm()

    def destroy(self) -> None:
        """Take publisher and subscriptions out of the graph."""
        self._node.destroy_publisher(self._publisher)
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)


class Controllers:
    """Arm and gripper of a contract; `watch` and `alarm` as those of `Controller`."""

    def __init__(
        self, node: LifecycleNode, contract: Contract, horizon: float, watch: WriterWatch, alarm: Callable[[], None]
    ) -> None:
        arm, gripper = contract.action, contract.gripper
        self._arm = Controller(node, arm.topic, arm.type, contract.joints.names, horizon, watch, alarm)
        self._gripper = Controller(
            node, gripper.topic, gripper.type, (gripper.joint,), 1.0 / contract.rate, watch, alarm
        )

    def arm(self, joints: Array) -> None:
        """Command the arm's joints (J,) [rad], in the contract's order."""
        self._arm.command(joints)

    def gripper(self, position: float) -> None:
        """Command the gripper's joint [rad or m]."""
        self._gripper.command(np.array([position]))

    def poll(self) -> None:
        """Look at the graph: who else is a writer of the command topics."""
        self._arm.poll()
        self._gripper.poll()

    def destroy(self) -> None:
        """Take them out of the graph."""
        self._arm.destroy()
        self._gripper.destroy()


def _content(message: Any) -> Hashable:
    """What a command says, to be compared: equal for a message sent and the same one received."""
    if isinstance(message, Float64MultiArray):
        return tuple(message.data)
    points = [(tuple(p.positions), p.time_from_start.sec, p.time_from_start.nanosec) for p in message.points]
    return (tuple(message.joint_names), *points)
