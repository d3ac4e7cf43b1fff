"""The arm in the hands of the node `practice`: it goes home, or stirs the scene, through the safety gate like everybody."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from sensor_msgs.msg import JointState

from robot_learning.control.homing import REACHED, STIR_TICKS, YAW_REACHED, Home, Stirring
from robot_learning.control.rotations import wrap_angle
from robot_learning.data.frames import Frame
from robot_learning.nodes.base import SECOND, RobotNode, ns_to_stamp, reliable
from robot_learning.nodes.practising.senses import NotYetError, Senses

SOURCE = "env"  # of the gate's sources: below a person, above the policy
STALLED = 40  # a tool that has not moved on in so many ticks of the way home will not come there
MOST = 20 * STALLED  # ticks of the way home; a tenth of the full speed takes some 250


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

    def go_home(self, home: Home) -> bool:
        """Open the gripper, rise, drive home, unwind the wrist; whether it came there. Raises `NotYetError`, `Stopped`."""
        for _ in range(MOST // STALLED):
            before = self._pose()
            if self._drive(lambda tcp, yaw, turned: home.action(tcp, yaw, self._scale, turned), STALLED):
                return True
            (tcp, yaw, turned), (was, yaw_was, turned_was) = self._pose(), before
            turn = max(abs(wrap_angle(yaw - yaw_was)), abs(turned - turned_was))
            if np.linalg.norm(tcp - was) < REACHED and turn < YAW_REACHED:
                break
        return False

    def stir(self, rng: np.random.Generator) -> None:
        """Move about at random, low above the desk: what lies in a corner may come out of it."""
        stirring = Stirring(rng)
        self._drive(lambda tcp, *_: stirring.action(tcp), STIR_TICKS)

    def _pose(self) -> tuple[np.ndarray, float, float]:
        return self._senses.tool(self._frame())

    def _frame(self) -> Frame:
        """The arm as it is, as soon as it is seen."""
        while True:
            self._senses.require(
                lambda: self._senses.frame().usable, self._patience, "joint_states; is the robot there?"
            )
            if (frame := self._senses.frame()).usable:
                return frame

    def _drive(self, choose: Callable[[np.ndarray, float, float], np.ndarray | None], ticks: int) -> bool:
        """Act until there is nothing left to do, or for so many ticks; whether the former.

        Only ticks that the gate carries out count: an arm that was held, or driven by a person, is not where it was to go.

        Raises:
            NotYetError: only a person can end the hold, or nothing is carried out for longer than `patience`.
        """
        senses = self._senses
        begun = carried_out = senses.driven
        deadline = time.monotonic() + self._patience
        while senses.driven - begun < ticks:
            if senses.holding:
                raise NotYetError(senses.holding)
            if senses.driven != carried_out:
                carried_out, deadline = senses.driven, time.monotonic() + self._patience
            if time.monotonic() > deadline:
                raise NotYetError(f"waited {self._patience:g} s for the gate to carry something out: {senses.gate}")
            frame = self._frame()
            action = choose(*senses.tool(frame))
            if action is None:
                return True
            message = JointState(name=list(self._node.contract.action.names), position=[float(a) for a in action])
            message.header.stamp, message.header.frame_id = ns_to_stamp(frame.at), SOURCE
            self._publisher.publish(message)
            self._until(frame.at + self._period)
        return False

    def _until(self, due: int) -> None:
        """Wait until the clock is there [ns]."""
        self._senses.require(
            lambda: self._node.now() >= due, self._patience, "time to go on; is the simulation paused?"
        )
