"""Who besides the safety gate commands the controllers: as the graph tells, and as commands betray that it did not send."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from robot_learning.control.watchdogs import SECOND, Hold

MEMORY = (
    64  # own commands remembered for each topic; of those still under way a subscription keeps no more than its depth
)
SILENCE = 1.0  # another writer that the graph does not show is taken for gone when it has been silent for this long [s]


class WriterWatch:
    """Holds while another node is a writer of a command topic, whether or not it sends, or sends, whether or not it is known.

    A command is anything hashable that is equal after it was sent and received. Commands are compared rather than their
    publishers because only the newest ROS distributions tell a subscriber from which publisher a message came; one that
    repeats what the gate just sent is found by the graph alone.
    """

    def __init__(self) -> None:
        self._sent: dict[str, dict[Hashable, None]] = {}  # topic -> own commands, the oldest first
        self._others: dict[str, tuple[str, ...]] = {}  # topic -> who else is a writer of it
        self._foreign: dict[str, int] = {}  # topic -> when the last foreign command came [ns, wall]

    def sent(self, topic: str, command: Hashable) -> None:
        """Remember a command; call it before the command is sent, or it may be heard first."""
        own = self._sent.setdefault(topic, {})
        own.pop(command, None)
        own[command] = None
        if len(own) > MEMORY:
            del own[next(iter(own))]

    def heard(self, topic: str, command: Hashable, wall: int) -> bool:
        """Take a command heard on `topic` at `wall` [ns]; returns whether it is the news that somebody else sends there."""
        if command in self._sent.get(topic, ()):
            return False
        news = self._fault(topic, wall) is None
        self._foreign[topic] = wall
        return news

    def graph(self, topic: str, others: Sequence[str]) -> None:
        """Who besides the gate publishes on `topic`, as far as the graph is known."""
        self._others[topic] = tuple(others)

    def fault(self, wall: int) -> Hold | None:
        """Why no command may be sent at `wall` [ns]; None when the gate is the only writer."""
        for topic in {**self._others, **self._foreign}:
            found = self._fault(topic, wall)
            if found is not None:
                return found
        return None

    def _fault(self, topic: str, wall: int) -> Hold | None:
        others = self._others.get(topic, ())
        sends = topic in self._foreign and wall - self._foreign[topic] <= SILENCE * SECOND
        if not others and not sends:
            return None
        who = ", ".join(others) or "another node"
        return Hold(f"{who} also commands on {topic}; only the safety gate may", moved=True)
