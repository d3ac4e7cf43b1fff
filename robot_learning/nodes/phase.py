"""PhaseLock: when to tick so that the cameras' pictures are as fresh as they can be."""

from __future__ import annotations

from collections.abc import Mapping

SECOND = 1_000_000_000  # [ns]
MARGIN = 0.003  # ticks aim at this long after a picture's arrival: pictures of several cameras come about together [s]
STEP = 0.002  # most that one period is changed [s]
GAIN = 0.6  # share of the error taken off each tick; a timer takes its new period up one tick later
GONE = 3.0  # a stream silent for so many of its periods is not waited for


class PhaseLock:
    """Shifts a fixed-rate loop, gently, to just after the arrival of the cameras' messages.

    On average it never ticks faster than its rate: time by which a tick comes early was gained by earlier, late ones. Where a
    camera is a little fast the phase therefore follows for a while and then slips by one picture.

    Args:
        period: of the loop [s]. periods: of each camera's messages [s], by topic.
    """

    def __init__(self, period: float, periods: Mapping[str, float]) -> None:
        self.period, self.periods = period, dict(periods)
        self._arrivals: dict[str, int] = {}
        self._credit = 0.0  # by how much the ticks so far were late in all [s]

    def clear(self) -> None:
        """Forget all arrivals: after a clock jump."""
        self._arrivals.clear()

    def arrived(self, topic: str, now: int) -> None:
        """Note that a message came at `now` [ns]."""
        if topic in self.periods:
            self._arrivals[topic] = now

    def due(self, now: int, within: float) -> bool:
        """Whether a camera's next message should come within so many seconds, or should have come already."""
        return any(
            self.periods[topic] - within <= since < 1.5 * self.periods[topic]
            for topic, since in self._since(now).items()
        )

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
        error = (since[anchor] - MARGIN) % cycle
        return error if error <= cycle / 4 else error - cycle  # a large lag is made up by going on to the next picture

    def _shift(self, error: float) -> float:
        wanted = -GAIN * error
        return max(-STEP, -self._credit, wanted) if wanted < 0 else min(STEP, wanted)
