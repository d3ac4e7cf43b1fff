"""When a node that died is started again: soon, then after longer and longer pauses, then not any more."""

from __future__ import annotations

from collections import Counter


class Respawns:
    """Counts the deaths of each process in a row.

    Args:
        shortest, longest: pauses before a start [s]; each is twice the one before.
        most: starts after deaths in a row.
        well: whoever has run for so long was well, and its deaths are counted anew [s].
    """

    def __init__(self, shortest: float = 1.0, longest: float = 60.0, most: int = 10, well: float = 60.0) -> None:
        self.shortest, self.longest, self.most, self.well = shortest, longest, most, well
        self._deaths: Counter[str] = Counter()

    def pause(self, name: str, ran: float) -> float | None:
        """How long to wait [s] before the process is started again that died after `ran` [s]; None: leave it dead."""
        before = 0 if ran >= self.well else self._deaths[name]
        self._deaths[name] = before + 1
        return min(self.longest, self.shortest * 2.0**before) if before < self.most else None


def prospect(name: str, pause: float | None) -> str:
    """What becomes of a node that died, for people."""
    if pause is None:
        return f"{name} dies again and again: it is not started any more"
    return f"{name} is started again in {pause:g} s"
