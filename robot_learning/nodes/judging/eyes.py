"""Eyes: the pictures a reward model looks at, and when there are new ones to judge."""

from __future__ import annotations

import contextlib

from robot_learning.contract import Contract
from robot_learning.data.frames import Frame, FrameAssembler
from robot_learning.data.messages import SECOND, MessageFault, header_stamp

AHEAD = 1.0  # simulated time may come so long after the pictures that it stamps [s]
EARLY = 0.75  # no sooner than this after the last judged pictures [periods]


class Eyes:
    """Collects the pictures of all cameras of a contract, and shows each set of new ones once.

    Args:
        contract: of the pictures alone. period: between two sets, at least [ns].

    Attributes:
        max_age: the age from which a picture is too old to be judged [s].
    """

    def __init__(self, contract: Contract, period: int) -> None:
        self.contract, self._period = contract, period
        self.max_age = max(stream.max_age for stream in contract.observation.values())
        self._assembler = FrameAssembler(contract)
        self.begin(0)

    def topics(self) -> dict[str, tuple[str, str]]:
        """The cameras' topics, each with its key and ROS type."""
        return self._assembler.topics()

    def begin(self, now: int) -> None:
        """From here on only pictures taken after `now` [ns] are shown."""
        self._since, self._judged = now, 0
        self._stamps: dict[str, int] = dict.fromkeys(self.topics(), 0)  # of the newest picture of each camera
        self._fresh: set[str] = set()

    def clear(self) -> None:
        """Forget all pictures: after a clock jump."""
        self._assembler.clear()

    def add(self, topic: str, raw: bytes, now: int) -> None:
        """Take a message that came at `now` [ns]."""
        self._assembler.add(topic, raw, now)
        with contextlib.suppress(MessageFault):  # the frame will name the fault
            stamp = header_stamp(raw)
            if stamp <= now + AHEAD * SECOND:  # one of a wrong clock would make all after it seem old
                self._stamps[topic] = max(self._stamps[topic], stamp)
        self._fresh.add(topic)

    @property
    def _newest(self) -> int:
        return max(self._stamps.values())

    @property
    def is_due(self) -> bool:
        """Whether every camera has a new picture, and it is time for them."""
        complete = len(self._fresh) == len(self.contract.observation)
        return complete and self._newest - self._judged >= EARLY * self._period

    def look(self, now: int) -> Frame:
        """The pictures of `now` [ns], which are no longer new."""
        frame = self._assembler.frame(self.latest(now))
        self._fresh.clear()
        self._judged = self._newest
        return frame

    def latest(self, now: int) -> int:
        """`now`, or the stamp of the newest picture: simulated time may come after the pictures it stamps [ns]."""
        return max(now, self._newest)

    def stamp(self, frame: Frame) -> int:
        """When the oldest picture of a frame was taken [ns]."""
        return frame.at - round(max(frame.ages.values()) * SECOND)

    def is_of_now(self, frame: Frame) -> bool:
        """Whether all pictures of a frame were taken after `begin`."""
        return self.stamp(frame) > self._since

    def missing(self, now: int) -> tuple[str, ...]:
        """What is wrong with pictures that should be there by now, one line for each stream; none while they come."""
        if now - min(self._stamps.values()) <= self.max_age * SECOND:  # one camera that stopped is enough
            return ()
        return self._assembler.frame(now).problems
