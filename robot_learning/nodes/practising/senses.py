"""What the node `practice` hears of the graph: the gate, the verdicts, what was carried out, where the tool is."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool

from robot_learning.contract import STATE
from robot_learning.control.tool_pose import tool_pose
from robot_learning.control.wrist import Wrist
from robot_learning.data.frames import Frame, FrameAssembler
from robot_learning.data.recording import HOLD
from robot_learning.errors import UserError
from robot_learning.nodes.base import SECOND, RobotNode, latched, reliable, sensor
from robot_learning.nodes.message_types import message_type
from robot_learning.training.practice_schedule import PERHAPS

SILENT = 1.0  # who judges does so at each tick; so much later nothing is known [s, wall]
FALLEN_SILENT = 3.0  # every node reports at each tick; one that does not is gone [s, wall]
HELD = 1.0  # nothing carried out for so long is a hold [s, wall]


class Stopped(Exception):
    """The node was asked to stop."""


class NotYetError(UserError, TimeoutError):
    """Something that was waited for has not come; says what."""


@dataclass(frozen=True)
class Names:
    """Names of the other nodes and topics; of `others` it matters only whether they are there."""

    policy: str
    success: str
    truth: str
    others: tuple[str, ...] = ()
    judged: str = ""


class Senses:
    """Listens on `node`; the threads that wait for something are woken by every message.

    Attributes:
        verdict: what was said about success last, None: nothing since `forget`; verdicts: how often since then.
        perhaps: whether the probability that came with the last verdict was half of what it takes or more, yet not enough.
        truth: what the simulation has said last.
        carried_out: actions of others than this node, since `forget`, that the gate has sent to the controllers.
        driven: this node's own of which it has, in all.
        stop: set to end all waiting by `Stopped`.
    """

    def __init__(self, node: RobotNode[Any], names: Names, own: str) -> None:
        self._node, self._own, self._policy = node, own, names.policy
        self._wrist = Wrist(node.contract)
        self.stop = threading.Event()
        self.verdict: bool | None = None
        self.verdicts, self.perhaps = 0, False
        self.truth: bool | None = None
        self.carried_out = self.driven = 0
        self.version = ""
        self._gate: DiagnosticStatus | None = None
        self._judged = self._moved = 0.0
        self._reported: dict[str, float] = {}  # by node, when it was heard last
        self._changed = threading.Condition()
        self._assembler = FrameAssembler(node.contract.select([STATE]))
        subscribe, self._parts = node.create_subscription, []
        for topic, (_, kind) in self._assembler.topics().items():
            self._parts.append(
                subscribe(message_type(kind), topic, partial(self._on_state, topic), sensor(5), raw=True)
            )
        self._parts += [
            subscribe(DiagnosticStatus, "safety_gate/state", self._on_gate, latched()),
            subscribe(JointState, "safety_gate/action_sent", self._on_sent, reliable(5)),
            subscribe(DiagnosticStatus, f"{names.policy}/status", self._on_policy, reliable(5)),
            subscribe(Bool, names.success, self._on_success, reliable(5)),
        ]
        for name in names.others:
            note = partial(self._on_other, name)
            self._parts.append(subscribe(DiagnosticStatus, f"{name}/status", note, reliable(5)))
        if names.judged:
            self._parts.append(subscribe(JointState, names.judged, self._on_judged, reliable(5)))
        if names.truth:
            self._parts.append(subscribe(Bool, names.truth, self._on_truth, reliable(5)))

    def destroy(self) -> None:
        """Leave the graph."""
        for subscription in self._parts:
            self._node.destroy_subscription(subscription)

    # --- in the executor's thread ----------------------------------------------------------------------------------------

    def _on_state(self, topic: str, raw: bytes) -> None:
        with self._changed:
            self._assembler.add(topic, raw, self._node.now())
            self._changed.notify_all()

    def _on_gate(self, message: DiagnosticStatus) -> None:
        with self._changed:
            self._gate = message
            self._changed.notify_all()

    def _on_sent(self, message: JointState) -> None:
        with self._changed:
            if message.header.frame_id == self._own:
                self.driven += 1
            elif message.header.frame_id != HOLD:
                self.carried_out += 1
                self._moved = time.monotonic()
            self._changed.notify_all()

    def _on_policy(self, message: DiagnosticStatus) -> None:
        self._on_other(self._policy, message)
        with self._changed:
            self.version = next((item.value for item in message.values if item.key == "version"), "")

    def _on_other(self, name: str, _: DiagnosticStatus) -> None:
        self._reported[name] = time.monotonic()

    def _on_success(self, message: Bool) -> None:
        with self._changed:
            self.verdict, self._judged = bool(message.data), time.monotonic()
            self.verdicts += 1
            self._changed.notify_all()

    def _on_judged(self, message: JointState) -> None:
        told = dict(zip(message.name, message.position, strict=False))
        p, threshold = told.get("probability", 0.0), told.get("threshold", 1.0)
        with self._changed:
            self.perhaps = PERHAPS * threshold <= p < threshold  # above that the verdict says it

    def _on_truth(self, message: Bool) -> None:
        with self._changed:
            self.truth = bool(message.data)

    # --- in the thread that practises ------------------------------------------------------------------------------------

    def wait(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Until it is true, at most so long [s, wall]; whether it is. Raises `Stopped`."""
        with self._changed:
            met = self._changed.wait_for(lambda: self.stop.is_set() or condition(), seconds)
        if self.stop.is_set():
            raise Stopped
        return met

    def require(self, condition: Callable[[], bool], seconds: float, what: str) -> None:
        """`wait`, or `NotYetError` that names `what`."""
        if not self.wait(condition, seconds):
            raise NotYetError(f"waited {seconds:g} s for {what}")

    def wake(self) -> None:
        """Let who waits look at `stop`."""
        with self._changed:
            self._changed.notify_all()

    def clock_jumped(self) -> None:
        """Where the arm was by the old time is of no use; and stamps before it would be taken for messages that came late."""
        with self._changed:
            self._assembler.clear()

    def forget(self) -> None:
        """What was said and done so far belongs to the last episode."""
        with self._changed:
            self.verdict, self.truth, self.carried_out, self.verdicts = None, None, 0, 0
            self.perhaps = False
            self._judged = self._moved = time.monotonic()

    def frame(self) -> Frame:
        """The arm as it is now."""
        with self._changed:
            return self._assembler.frame(self._node.now())

    def tool(self, frame: Frame) -> tuple[np.ndarray, float, float]:
        """Tool centre point `(3,)` [m] and yaw [rad] of a frame, and how far the wrist is wound up [rad] (`Wrist`)."""
        names, state = self._node.contract.observation[STATE].names, frame.values[STATE]
        return *tool_pose(names, state), self._wrist.turned_in(names, state)

    @property
    def holding(self) -> str:
        """Why the gate lets nobody act until a person has done something; empty: it does."""
        gate = self._gate
        if gate is None:
            return "safety_gate/state: no message; is the safety gate running?"
        return gate.message if gate.level == DiagnosticStatus.ERROR else ""

    @property
    def gate(self) -> str:
        """What the gate says of itself."""
        return self._gate.message if self._gate else "nothing is carried out"

    @property
    def fallen_silent(self) -> list[str]:
        """The nodes that were heard and are no longer."""
        now = time.monotonic()
        return [name for name, at in self._reported.items() if now - at > FALLEN_SILENT]

    def trouble(self) -> str:
        """Why the episode cannot go on, else empty: a hold, nothing carried out for a second, no verdict for a second."""
        now = time.monotonic()
        if self.holding:
            return self.holding
        if now - self._moved > HELD:
            return self.gate
        if now - self._judged > SILENT:
            return "nobody judges: no verdict on success for a second"
        return ""


__all__ = ["SECOND", "Names", "NotYetError", "Senses", "Stopped"]
