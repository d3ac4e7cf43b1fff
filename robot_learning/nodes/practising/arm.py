"""The arm in the hands of the node `practice`: it goes home, or stirs the scene, through the safety gate like everybody."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from sensor_msgs.msg import JointState

from robot_learning.control.homing import STIR_TICKS, Home, Stirring
from robot_learning.nodes.base import SECOND, RobotNode, ns_to_stamp, reliable
from robot_learning.nodes.practising.senses import Senses

SOURCE = "env"  # of the gate's sources: below a person, above the policy
TICKS = 80  # at most on the way home


class Arm:
    """Sends actions at the contract's rate while the policy rests."""

    def __init__(self, node: RobotNode[Any], senses: Senses, patience: float) -> None:
        self._node, self._senses, self._patience = node, senses, patience
        self._scale = np.array(node.contract.action.scale)
        self._period = round(SECOND / node.contract.rate)
        self._publisher = node.create_publisher(JointState, f"{SOURCE}/action", reliable(1))

    def destroy(self) -> None:
        """Leave the graph."""
        self._node.destroy_publisher(self._publisher)

    def go_home(self, home: Home) -> None:
        """Open the gripper, rise, drive home, unwind the wrist, for eight seconds at most. Raises `NotYetError`, `Stopped`."""
        self._drive(lambda tcp, yaw, turned: home.action(tcp, yaw, self._scale, turned), TICKS)

    def stir(self, rng: np.random.Generator) -> None:
        """Move about at random, low above the desk: what lies in a corner may come out of it."""
        stirring = Stirring(rng)
        self._drive(lambda tcp, *_: stirring.action(tcp), STIR_TICKS)

    def _drive(self, choose: Callable[[np.ndarray, float, float], np.ndarray | None], ticks: int) -> None:
        for _ in range(ticks):
            self._senses.require(
                lambda: self._senses.frame().usable, self._patience, "joint_states; is the robot there?"
            )
            frame = self._senses.frame()
            if not frame.usable:
                continue
            action = choose(*self._senses.tool(frame))
            if action is None:
                return
            message = JointState(name=list(self._node.contract.action.names), position=[float(a) for a in action])
            message.header.stamp, message.header.frame_id = ns_to_stamp(frame.at), SOURCE
            self._publisher.publish(message)
            self._until(frame.at + self._period)

    def _until(self, due: int) -> None:
        """Wait until the clock is there [ns]."""
        self._senses.require(
            lambda: self._node.now() >= due, self._patience, "time to go on; is the simulation paused?"
        )
