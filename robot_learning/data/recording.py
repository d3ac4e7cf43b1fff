"""Recording: the frames of one episode out of its messages. The recorder feeds it live, the converter from a bag: same frames.

A frame is made for every action the safety gate carried out. It holds the observation at the action's time stamp, that
action, and, known only at the following tick, whether the task was done then.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from robot_learning.contract import JOINT_STATE, Contract
from robot_learning.data.frames import Frame, FrameAssembler
from robot_learning.data.messages import MessageFault, decode, header_stamp
from robot_learning.data.schema import Feature

TASK, SUCCESS = "task", "success"
ACTION_SENT, ACTION_REQUESTED = "safety_gate/action_sent", "safety_gate/action_requested"
GATE_STATE = "safety_gate/state"
TICK, EVENT = "recorder/tick", "recorder/event"
HOLD, TELEOP = "hold", "teleop"
BOOL, STRING, TIME = "std_msgs/msg/Bool", "std_msgs/msg/String", "builtin_interfaces/msg/Time"
SMALL_TOPICS = {TASK: STRING, SUCCESS: BOOL, GATE_STATE: "diagnostic_msgs/msg/DiagnosticStatus"}
"""Topics besides the contract's streams that are recorded also during a pause."""
ACTION_TOPICS = {ACTION_REQUESTED: JOINT_STATE, ACTION_SENT: JOINT_STATE}
LOCKSTEP = "lockstep"  # a parameter of the recorder, kept with its bags; see FrameAssembler
OWN_TOPICS = {TICK: TIME, EVENT: STRING}
"""Topics that are only in the bag: when each frame was made, and what was done with the episode (JSON)."""
INTERVENTION, HELD, REQUESTED, AGE = "intervention", "held", "action.requested", "observation.age"


def recording_features(contract: Contract) -> dict[str, Feature]:
    """The columns of a recorded dataset beyond the contract's: who acted, what was asked for, how old each stream was."""
    names = contract.action.names
    return {
        INTERVENTION: Feature("bool", (1,)),
        HELD: Feature("bool", (1,)),
        REQUESTED: Feature("float32", (len(names),), names, ("1",) * len(names)),
        AGE: Feature(
            "float32", (len(contract.observation),), tuple(contract.observation), ("s",) * len(contract.observation)
        ),
    }


@dataclass(frozen=True)
class NamedAction:
    """An action on its way: `stamp` is the time of the observation it answers [ns], `source` who sent it."""

    stamp: int
    source: str
    values: np.ndarray


def named_action(raw: bytes, contract: Contract) -> NamedAction:
    """Read an action `(A,)` float32 in the contract's order from a JointState that names its elements.

    Raises:
        MessageFault: names or numbers of elements are not the contract's.
    """
    message = decode(raw, JOINT_STATE)
    names = list(message.name)
    if sorted(names) != sorted(contract.action.names) or len(message.position) != len(names):
        raise MessageFault(
            f"expected an action with the names {list(contract.action.names)}, "
            f"found {names} with {len(message.position)} values"
        )
    values = np.array([message.position[names.index(name)] for name in contract.action.names], np.float32)
    return NamedAction(header_stamp(raw), str(message.header.frame_id), values)


@dataclass(frozen=True)
class RecordedFrame:
    """A whole frame, as the dataset takes it, and its instruction."""

    at: int
    values: dict[str, Any]
    task: str


@dataclass
class _Pending:
    """A frame that waits for what came of its action; `requests` came between the tick before and its own."""

    frame: Frame
    sent: NamedAction
    requests: list[NamedAction]
    task: str


@dataclass
class Tally:
    """What happened in an episode: frames made, ticks `skipped` because a stream was missing or malformed, frames with a
    problem by topic, and the frames that a pause came before."""

    frames: int = 0
    skipped: int = 0
    interventions: int = 0
    held: int = 0
    problems: Counter[str] = field(default_factory=Counter)
    pauses: list[int] = field(default_factory=list)

    def info(self) -> dict[str, Any]:
        """As kept with the episode."""
        return {
            "frames": self.frames,
            "skipped_ticks": self.skipped,
            "interventions": self.interventions,
            "held": self.held,
            "problems": dict(self.problems),
            "paused_before_frames": list(self.pauses),
        }


class Recording:
    """The frames of one episode from its messages (relative topics), ticks and pauses, given in the order they came."""

    def __init__(self, contract: Contract, task: str = "", lockstep: bool = False) -> None:
        self.contract = contract
        self.assembler = FrameAssembler(contract, lockstep=lockstep)
        self._streams = set(self.assembler.topics())
        self.task, self.success = task, False
        self.tally = Tally()
        self.problems: tuple[str, ...] = ()
        """What was wrong at the last tick."""
        self._sent: NamedAction | None = None
        self._requests: list[NamedAction] = []
        self._pending: _Pending | None = None

    def begin(self) -> None:
        """Start a new episode: nothing that came before belongs to it, but the instruction stays."""
        self.assembler.clear()
        self.success, self.tally, self.problems = False, Tally(), ()
        self._sent, self._pending, self._requests = None, None, []

    def message(self, topic: str, raw: bytes, received: int) -> None:
        """Take a message; one that does not decode counts as a problem of its topic."""
        if topic in self._streams:
            self.assembler.add(topic, raw, received)
            return
        try:
            if topic == ACTION_SENT:
                self._sent = named_action(raw, self.contract)
            elif topic == ACTION_REQUESTED:
                self._requests.append(named_action(raw, self.contract))
            elif topic == TASK:
                self.task = str(decode(raw, STRING).data)
            elif topic == SUCCESS:
                self.success = bool(decode(raw, BOOL).data)
        except MessageFault:
            self.tally.problems[topic] += 1
            self._sent = None if topic == ACTION_SENT else self._sent

    @property
    def sent(self) -> NamedAction | None:
        """The action carried out last, None when its message was malformed."""
        return self._sent

    def tick(self, at: int, action: NamedAction | None = None) -> RecordedFrame | None:
        """Make a frame at `at` [ns] of the action sent last (or `action`); returns the one before it, now whole."""
        whole = self._complete(done=False)
        sent = action or self._sent
        frame = self.assembler.frame(at)
        self.problems = frame.problems
        if sent is None or not self.task or len(frame.values) < len(self.contract.observation):
            self.tally.skipped += bool(
                self.tally.frames or whole
            )  # before the first frame, streams are still coming up
            return whole
        for problem in frame.problems:
            self.tally.problems[problem.split(":")[0]] += 1
        self._pending = _Pending(frame, sent, self._requests, self.task)
        self._requests = []
        return whole

    def drop_frame(self, why: str) -> None:
        """The dataset did not take the last frame."""
        self.tally.frames -= 1
        self.tally.skipped += 1
        self.problems = (*self.problems, why)

    def pause(self) -> RecordedFrame | None:
        """The last frame before a pause."""
        return self._complete(done=False)

    def resume(self) -> None:
        """Go on after a pause: what came before it is out of date."""
        self.assembler.clear()
        self._sent, self._requests = None, []
        self.tally.pauses.append(self.tally.frames)

    def finish(self) -> RecordedFrame | None:
        """The last frame of the episode."""
        return self._complete(done=True)

    def _complete(self, done: bool) -> RecordedFrame | None:
        pending, self._pending = self._pending, None
        if pending is None:
            return None
        frame, sent = pending.frame, pending.sent
        intervention, held = sent.source == TELEOP, sent.source == HOLD
        self.tally.frames += 1
        self.tally.interventions += intervention
        self.tally.held += held
        values = {
            **frame.values,
            "action": sent.values,
            "next.reward": np.float32(self.success),
            "next.done": np.bool_(done),
            "next.success": np.bool_(self.success),
            INTERVENTION: np.bool_(intervention),
            HELD: np.bool_(held),
            REQUESTED: self._requested(pending),
            AGE: np.array([frame.ages[key] for key in self.contract.observation], np.float32),
        }
        return RecordedFrame(frame.at, values, pending.task)

    def _requested(self, pending: _Pending) -> np.ndarray:
        """The request that the action sent answers (its message may come later); while the gate held, the newest one.

        The action itself where there is none, or where it is not finite (the bag has it as it came).
        """
        sent = pending.sent
        if sent.source == HOLD:
            found = pending.requests
        else:
            both = pending.requests + self._requests
            found = [r for r in both if (r.stamp, r.source) == (sent.stamp, sent.source)]
        return found[-1].values if found and np.isfinite(found[-1].values).all() else sent.values
