"""When which topic of the simulated robot is due, and how simulated time keeps up with the wall clock."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Mapping

ROUNDING = 1e-9  # of a period; keeps a rate that divides the physics rate on its grid
MAX_LAG = 0.2  # simulation further behind than this starts its count anew instead of hurrying after [s]
WINDOW = 1.0  # the measured real-time factor is an average over this long [s]
SHORTEST = 0.5  # ... and over this long at least


class Schedule:
    """Streams of different rates on the grid of physics steps.

    Args:
        periods: physics steps between two messages of each stream, not necessarily whole; less than one counts as one.
    """

    def __init__(self, periods: Mapping[str, float]) -> None:
        self._periods = {name: max(1.0, period) for name, period in periods.items()}

    def after(self, step: int) -> tuple[int, tuple[str, ...]]:
        """The next physics step after `step` at which something is due, and what."""
        due = {name: _next(step, period) for name, period in self._periods.items()}
        first = min(due.values())
        return first, tuple(name for name, at in due.items() if at == first)


def _next(step: int, period: float) -> int:
    return math.ceil((math.floor(step / period + ROUNDING) + 1) * period - ROUNDING)


class Pacer:
    """Lets simulated time run `factor` times as fast as the wall clock (0: as fast as it can), and measures how fast it does."""

    def __init__(self, factor: float) -> None:
        self.factor = factor
        self._wall, self._simulated = time.monotonic(), 0.0
        self._samples: deque[tuple[float, float]] = deque()

    def restart(self, simulated: float) -> None:
        """Count from here: simulated time `simulated` [s] is now."""
        self._wall, self._simulated = time.monotonic(), simulated

    def jump(self, simulated: float) -> None:
        """As `restart`, after simulated time was set: what was measured before says nothing."""
        self.restart(simulated)
        self._samples.clear()

    def wait(self, simulated: float) -> None:
        """Sleep until simulated time `simulated` [s] is due."""
        if self.factor > 0:
            ahead = self._wall + (simulated - self._simulated) / self.factor - time.monotonic()
            if ahead > 0:
                time.sleep(ahead)
            elif ahead < -MAX_LAG:
                self.restart(simulated)
        now = time.monotonic()
        self._samples.append((now, simulated))
        while len(self._samples) > 2 and now - self._samples[0][0] > WINDOW:
            self._samples.popleft()

    @property
    def measured(self) -> float:
        """Simulated seconds a wall second, lately; 0 while that is not known yet."""
        if not self._samples:
            return 0.0
        (wall_a, simulated_a), (wall_b, simulated_b) = self._samples[0], self._samples[-1]
        return (simulated_b - simulated_a) / (wall_b - wall_a) if wall_b - wall_a > SHORTEST else 0.0
