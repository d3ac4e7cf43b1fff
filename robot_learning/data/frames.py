"""FrameAssembler: the newest message of each of a contract's streams, with its age, as one frame.

The policy, the recorder, the environment and the bag converter all make their frames here, so that a frame made live and
one made from the bag of the same run are equal.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from robot_learning.contract import Contract, ContractError, Stream
from robot_learning.data.messages import SECOND, STAMPED, Decoder, MessageFault, header_stamp, make_decoder

MEMORY = 0.5  # how far back a frame can be asked for [s]


@dataclass(frozen=True)
class Frame:
    """What was known at one moment.

    Attributes:
        at: the moment [ns].
        values: the observation by key; a stream that is missing or malformed is absent. The arrays are read-only.
        ages: how old each value was by its stamp [s].
        problems: one line per stream that is missing, stale or malformed.
    """

    at: int
    values: dict[str, np.ndarray]
    ages: dict[str, float]
    problems: tuple[str, ...] = ()

    @property
    def usable(self) -> bool:
        """Whether every stream is there, well-formed and fresh."""
        return not self.problems


@dataclass
class _Message:
    raw: bytes
    received: int
    stamp: int
    value: np.ndarray | None = None
    fault: str = ""


@dataclass
class _Buffer:
    """The last messages of one stream."""

    key: str
    stream: Stream
    decode: Decoder
    messages: deque[_Message]
    newest_stamp: int | None = None
    behind: float = 0.0  # how far the last dropped message's stamp was behind the newest [s]
    dropped: int = field(default=0)

    def newest(self, at: int, lockstep: bool) -> _Message | None:
        """The newest message that had come by `at` [ns]; in lockstep, whenever it came.

        What is stamped later does not belong to that moment, though it may seem to have come before it: simulated time
        reaches a node after the sensors it stamps. Only a stream that is always ahead is taken as it is.
        """
        if lockstep and self.stream.type not in STAMPED:
            return self.messages[-1] if self.messages else None
        come = [message for message in self.messages if lockstep or message.received <= at]
        return next((message for message in reversed(come) if message.stamp <= at), come[-1] if come else None)

    def forget_ahead_of(self, message: _Message) -> None:
        """Forget messages that are stamped later than this one though they were ahead of the time at which they came."""
        limit = self.stream.max_age * SECOND
        if message.stamp - message.received > limit:
            return
        while self.messages:
            last = self.messages[-1]
            if last.stamp <= message.stamp or last.stamp - last.received <= limit:
                break
            self.messages.pop()
            self.newest_stamp = self.messages[-1].stamp if self.messages else None


def lasting(problems: Iterable[str]) -> tuple[str, ...]:
    """What lasts of problems, whose numbers change with each frame: `topic: stale`."""
    return tuple(problem.split(",")[0] for problem in problems)


class FrameAssembler:
    """Collects the raw messages of a contract's streams and makes frames of them.

    Adding is cheap: bytes are kept as they came, and decoded only when a frame needs them. Not thread-safe.

    Args:
        lockstep: simulated time waited at each tick, so that everything of a tick had come before anybody acted. Then when it
            came says nothing: a node that is a few milliseconds behind reads the next tick on its clock already.

    Raises:
        ContractError: a stream's message type cannot become an array, or two streams share a topic.
    """

    def __init__(self, contract: Contract, history: int = 64, lockstep: bool = False) -> None:
        self.contract, self.lockstep = contract, lockstep
        self.jumped_back: Counter[str] = Counter()
        """Messages dropped because their stamp was older than the newest of their stream, by topic."""
        self._buffers: dict[str, _Buffer] = {}
        for key, stream in contract.observation.items():
            if stream.topic in self._buffers:
                taken = self._buffers[stream.topic].key
                raise ContractError(f"contract {contract.name!r}: {taken} and {key} share the topic {stream.topic!r}")
            length = min(history, math.ceil(stream.rate * MEMORY) + 2)
            decoder = make_decoder(contract, key)
            self._buffers[stream.topic] = _Buffer(key, stream, decoder, deque(maxlen=length))

    def topics(self) -> dict[str, tuple[str, str]]:
        """The contract's topics, each with its key and ROS type."""
        return {topic: (buffer.key, buffer.stream.type) for topic, buffer in self._buffers.items()}

    def add(self, topic: str, raw: bytes, received: int) -> None:
        """Take a raw message that came at `received` [ns]; one stamped before its predecessor is dropped and counted.

        Unless the predecessor was ahead of time, and this one is not: then a clock was wrong for a moment, or has been put
        right, and the predecessor is forgotten instead. The stream would be deaf until its time otherwise.
        """
        buffer = self._buffers[topic]
        message = _Message(raw, received, received)
        if buffer.stream.type in STAMPED:
            try:
                message.stamp = header_stamp(raw)
            except MessageFault as fault:
                message.fault = str(fault)
        buffer.forget_ahead_of(message)
        if buffer.newest_stamp is not None and message.stamp < buffer.newest_stamp:
            buffer.behind = (buffer.newest_stamp - message.stamp) / SECOND
            buffer.dropped += 1
            self.jumped_back[topic] += 1
            return
        buffer.newest_stamp, buffer.dropped = message.stamp, 0
        buffer.messages.append(message)

    def decode(self, topic: str) -> None:
        """Decode the newest message of a topic now, so that the next frame need not."""
        messages = self._buffers[topic].messages
        if messages:
            self._decode(self._buffers[topic], messages[-1])

    def frame(self, at: int) -> Frame:
        """The newest of each stream among what had come, and was captured, by `at` [ns]."""
        values: dict[str, np.ndarray] = {}
        ages: dict[str, float] = {}
        problems = []
        for topic, buffer in self._buffers.items():
            message = buffer.newest(at, self.lockstep)
            if message is None:
                problems.append(f"{topic}: missing, no message yet")
                continue
            self._decode(buffer, message)
            age = (at - message.stamp) / SECOND
            ages[buffer.key] = age
            if message.value is not None:
                values[buffer.key] = message.value
            problem = message.fault or _out_of_time(buffer, message.stamp, age)
            if problem:
                problems.append(f"{topic}: {problem}")
        return Frame(at, values, ages, tuple(problems))

    def clear(self) -> None:
        """Forget every message: after a clock jump, or where a new episode begins."""
        for buffer in self._buffers.values():
            buffer.messages.clear()
            buffer.newest_stamp, buffer.dropped = None, 0

    def _decode(self, buffer: _Buffer, message: _Message) -> None:
        if message.value is not None or message.fault:
            return
        try:
            message.value = buffer.decode(message.raw)
            message.value.setflags(write=False)
        except MessageFault as fault:
            message.fault = str(fault)


def _out_of_time(buffer: _Buffer, stamp: int, age: float) -> str:
    """What is wrong with a message of this age [s], empty when nothing is."""
    limit = buffer.stream.max_age
    if -limit <= age <= limit:
        return ""
    if age < 0:
        return f"stamped in the future, by {-age:.2f} s; are the clocks of both machines in step?"
    if not stamp:
        return "its header stamp is 0; the driver must set it to the capture time"
    stamps = f"; stamps jumped back {buffer.behind:.2f} s, {buffer.dropped} dropped" if buffer.dropped else ""
    return f"stale, {age:.2f} s > {limit:g} s{stamps}"
