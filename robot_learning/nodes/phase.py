"""PhaseLock: when to tick so that the cameras' pictures are as fresh as they can be."""

from __future__ import annotations

import math
from collections.abc import Mapping

SECOND = 1_000_000_000  # [ns]
LEAD = 0.002  # where a tick may wait, the timer comes so long before a picture, whose arrival then starts the tick [s]
MARGIN = 0.003  # where it may not, it aims at this long after the arrival: pictures of several cameras come about together [s]
WORTH = 0.004  # waiting must make the oldest picture so much fresher [s]
STEP = 0.002  # most that one period is changed [s]
GAIN = 0.6  # share of the error taken off each tick; a timer takes its new period up one tick later
GONE = 3.0  # a stream silent for so many of its periods is not waited for


class PhaseLock:
    """Shifts a fixed-rate loop, gently, to just after the arrival of the cameras' messages.

    On average it never ticks faster than its rate: time by which a tick comes early was gained by earlier, late ones. Where a
    camera is a little fast the phase therefore follows for a while and then slips by one picture.

    Args:
        period: of the loop [s]. periods: of each camera's messages [s], by topic. waits: a tick may wait for a picture.
    """

    def __init__(self, period: float, periods: Mapping[str, float], waits: bool = True) -> None:
        self.period, self.periods = period, dict(periods)
        self._lead = LEAD if waits else -MARGIN
        self._arrivals: dict[str, int] = {}
        self._credit = 0.0  # by how much the ticks so far were late in all [s]

    def clear(self) -> None:
        """Forget all arrivals: after a clock jump."""
        self._arrivals.clear()

    def arrived(self, topic: str, now: int) -> None:
        """Note that a message came at `now` [ns]."""
        if topic in self.periods:
            self._arrivals[topic] = now

    def worth_waiting(self, now: int, within: float) -> bool:
        """Whether the oldest picture would be clearly fresher at a moment not later than `within` seconds from `now` [ns].

        Of two cameras that do not expose together, each next picture makes the other's older: often now is best.
        """
        since = self._since(now)
        until = {  # a picture that is long overdue is not reckoned with
            topic: max(0.0, self.periods[topic] - age) if age < 1.5 * self.periods[topic] else math.inf
            for topic, age in since.items()
        }

        def oldest(wait: float) -> float:
            """Age [s] of the oldest picture after so long a wait, if all come when they should."""
            return max(wait - until[topic] if until[topic] <= wait else age + wait for topic, age in since.items())

        soon = [wait for wait in until.values() if wait <= within]
        return bool(soon) and max(since.values()) - min(map(oldest, soon)) > WORTH

    def next_period(self, now: int) -> float:
        """How long from the tick at `now` [ns] to the next [s]."""
        shift = self._shift(self._error(now))
        self._credit = min(self._credit + shift, self.period)
        return self.period + shift

    def _since(self, now: int) -> dict[str, float]:
        """Seconds since the last message of each camera that is alive."""
        since = {topic: (now - at) / SECOND for topic, at in self._arrivals.items()}
        return {topic: age for topic, age in since.items() if 0 <= age < GONE * self.periods[topic]}

    def _error(self, now: int) -> float:
        """How far after the best moment this tick came [s]; negative: before it."""
        since = self._since(now)
        if not since:
            return 0.0

        def worst_age(anchor: str) -> float:
            """Age of the oldest picture [s] for a tick right after one of `anchor`'s."""
            return max((since[other] - since[anchor]) % self.periods[other] for other in since)

        anchor = min(since, key=worst_age)
        cycle = self.periods[anchor]
        error = (since[anchor] + self._lead) % cycle
        back = min(cycle / 4, max(self._credit, LEAD))
        return error if error <= back else error - cycle  # a larger lag is made up by going on to the next picture

    def _shift(self, error: float) -> float:
        wanted = -GAIN * error
        return max(-STEP, -self._credit, wanted) if wanted < 0 else min(STEP, wanted)
