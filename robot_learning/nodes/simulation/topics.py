"""The topics of the simulated robot: what it says and what it listens to."""

from __future__ import annotations

import array
from collections.abc import Callable, Collection
from typing import Any

import numpy as np
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool, Float32MultiArray, Float64MultiArray, String
from trajectory_msgs.msg import JointTrajectory

from robot_learning.contract import ENVIRONMENT_STATE, FLOAT64_ARRAY, STATE
from robot_learning.control.limits import ActionError
from robot_learning.envs import observation
from robot_learning.nodes.base import RobotNode, latched, ns_to_stamp, reliable
from robot_learning.nodes.simulation.simulator import Simulator

TICK, JOINTS = "tick", "joints"  # what is due, beside the names of cameras


class RobotTopics:
    """Joint states, and once a control tick: object state, success, /clock and the whole state of the simulation.

    /clock comes first: by the clock of whoever receives the rest, it is then not older than it is.
    """

    def __init__(self, node: RobotNode[Any], simulator: Simulator, clock: bool, environment_state: bool) -> None:
        contract = node.contract
        self._node, self._simulator = node, simulator
        self._joint_states = node.create_publisher(JointState, contract.observation[STATE].topic, reliable(50))
        self._clock = node.create_publisher(Clock, "/clock", reliable(5)) if clock else None
        stream = contract.observation.get(ENVIRONMENT_STATE) or observation.environment_state_stream(contract.rate)
        self._objects = (
            node.create_publisher(Float32MultiArray, stream.topic, reliable(5)) if environment_state else None
        )
        self._success = node.create_publisher(Bool, "success", reliable(5))
        self._state = node.create_publisher(Float64MultiArray, "~/state", reliable(5))
        self._joints = JointState(name=[*contract.joints.names, contract.gripper.joint])

    def publish(self, due: Collection[str], stamp: int) -> None:
        """Send what is `due` of this instant, `stamp` [ns]."""
        if self._clock is not None and due:
            self._clock.publish(Clock(clock=ns_to_stamp(stamp)))
        if JOINTS in due:
            self._publish_joints(stamp)
        if TICK in due:
            self._publish_tick(stamp)

    def _publish_tick(self, stamp: int) -> None:
        if self._objects is not None:
            objects = observation.environment_state(self._simulator.room)
            self._objects.publish(Float32MultiArray(data=_array("f", objects)))
        success = self._simulator.success
        if success is not None:
            self._success.publish(Bool(data=success))
        self._state.publish(Float64MultiArray(data=_array("d", self._simulator.state(stamp))))

    def _publish_joints(self, stamp: int) -> None:
        room, message = self._simulator.room, self._joints
        gripper, gripper_velocity = room.gripper_joint
        message.header.stamp = ns_to_stamp(stamp)
        message.position = _array("d", np.append(room.joints, gripper))
        message.velocity = _array("d", np.append(room.joint_velocities, gripper_velocity))
        self._joint_states.publish(message)

    def destroy(self) -> None:
        """Take the topics down."""
        for publisher in (self._joint_states, self._clock, self._objects, self._success, self._state):
            if publisher is not None:
                self._node.destroy_publisher(publisher)


class CommandTopics:
    """The controllers' command topics, and `task`. A command that makes no sense is counted and not carried out.

    Args:
        on_task: called with the instruction when another task is asked for.
    """

    def __init__(self, node: RobotNode[Any], simulator: Simulator, on_task: Callable[[str], None]) -> None:
        self._node, self._simulator = node, simulator
        action, gripper = node.contract.action, node.contract.gripper
        trajectories = action.type != FLOAT64_ARRAY
        kind, handler = (JointTrajectory, self._on_trajectory) if trajectories else (Float64MultiArray, self._on_arm)
        self._subscriptions = [
            node.create_subscription(kind, action.topic, handler, reliable(5)),
            node.create_subscription(Float64MultiArray, gripper.topic, self._on_gripper, reliable(5)),
            node.create_subscription(String, "task", lambda message: on_task(message.data), latched()),
        ]

    def _on_arm(self, message: Float64MultiArray) -> None:
        self._carry_out(lambda: self._simulator.command_arm(np.array(message.data)))

    def _on_trajectory(self, message: JointTrajectory) -> None:
        """The end of the trajectory is the target: a joint_trajectory_controller would interpolate on its way as we do."""
        names = self._node.contract.joints.names
        if not message.points or sorted(message.joint_names) != sorted(names):
            self._refuse(f"trajectory for {list(message.joint_names)}, expected {list(names)} and at least one point")
            return
        target = dict(zip(message.joint_names, message.points[-1].positions, strict=False))
        self._carry_out(lambda: self._simulator.command_arm([target.get(name, np.nan) for name in names]))

    def _on_gripper(self, message: Float64MultiArray) -> None:
        if len(message.data) != 1:
            self._refuse(f"gripper command with {len(message.data)} numbers, expected 1")
            return
        self._carry_out(lambda: self._simulator.command_gripper(message.data[0]))

    def _carry_out(self, command: Callable[[], None]) -> None:
        try:
            command()
        except ActionError as error:
            self._refuse(str(error))

    def _refuse(self, why: str) -> None:
        self._node.count("refused commands")
        self._node.get_logger().warning(why, throttle_duration_sec=1.0)

    def destroy(self) -> None:
        """Stop listening."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)


def _array(code: str, values: np.ndarray) -> array.array[Any]:
    data = array.array(code)
    data.frombytes(np.ascontiguousarray(values).data.cast("B"))
    return data
