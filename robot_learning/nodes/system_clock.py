"""SystemClock: notices that the machine's clock was set. ROS tells nobody: its jump callbacks hear of simulated time only."""

from __future__ import annotations

import time
from collections.abc import Callable

SECOND = 1_000_000_000  # [ns]
BACKWARD = 0.02  # a clock that is slewed loses far less than this between two looks [s]
TOO_SLOW = 0.005  # who takes longer to read both clocks was interrupted and knows nothing [s]


class SystemClock:
    """Compares the machine's clock with its steady one, which nobody sets.

    Args:
        forward: a clock that skips further ahead than this was set, or the machine slept [s].
        system, steady: the clocks [ns].
    """

    def __init__(
        self,
        forward: float,
        system: Callable[[], int] = time.time_ns,
        steady: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._forward, self._system, self._steady = forward, system, steady
        self._offset: int | None = None

    def shift(self) -> float:
        """By how much the clock was set since the last look [s]; 0.0 where it was not."""
        before = self._steady()
        offset = self._system() - before
        if self._steady() - before > TOO_SLOW * SECOND:
            return 0.0
        last, self._offset = self._offset, offset
        if last is None:
            return 0.0
        seconds = (offset - last) / SECOND
        return seconds if seconds < -BACKWARD or seconds > self._forward else 0.0
