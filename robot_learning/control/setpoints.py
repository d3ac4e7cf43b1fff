"""Set-points between two commands, for controllers that do not interpolate (forward_command_controller)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from robot_learning.contract import Contract
from robot_learning.control.rotations import Array
from robot_learning.control.watchdogs import SECOND


class LinearSetpoints:
    """Straight lines in joint space: each target is reached one control period after it came.

    A line that would break the contract's velocity limits, as when two targets come at once, takes longer instead.
    """

    def __init__(self, contract: Contract) -> None:
        self._velocity = np.array(contract.joints.velocity)
        self._period = 1.0 / contract.rate
        self._start: Array | None = None
        self._goal: Array | None = None
        self._began, self._span, self._share = 0, 1, 0.0

    @property
    def moving(self) -> bool:
        """Whether the goal is not yet commanded."""
        return self._goal is not None

    def restart(self, joints: ArrayLike) -> None:
        """Begin at these `joints` (J,) [rad], which are the set-point now."""
        self._start, self._goal = np.array(joints, dtype=float), None

    def target(self, joints: ArrayLike, now: int) -> None:
        """Go to these `joints` (J,) [rad], from wherever the set-point is at `now` [ns].

        Raises:
            RuntimeError: `restart` was not called before.
        """
        start = self.at(now)
        goal = np.array(joints, dtype=float)
        needed = float(np.max(np.abs(goal - start) / self._velocity, initial=0.0))
        self._start, self._goal = start, goal
        self._began, self._span, self._share = now, max(1, round(max(self._period, needed) * SECOND)), 0.0

    def at(self, now: int) -> Array:
        """The set-point (J,) [rad] at `now` [ns].

        Raises:
            RuntimeError: `restart` was not called before.
        """
        if self._start is None:
            raise RuntimeError("LinearSetpoints: call restart(joints) with the measured joints first")
        if self._goal is None:
            return self._start
        self._share = share = max(
            self._share, (now - self._began) / self._span
        )  # a clock that is set back leads nobody back
        if share >= 1.0:
            self._start, self._goal = self._goal, None
            return self._start
        reached: Array = self._start + share * (self._goal - self._start)
        return reached

    def stop(self, now: int) -> None:
        """Stay where the set-point is at `now` [ns]."""
        if self._start is not None:
            self.restart(self.at(now))
