"""What an arm does by itself between episodes, as actions: it goes home, or stirs the scene. Knows no simulator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from robot_learning.control.rotations import wrap_angle
from robot_learning.control.wrist import unwinding

STIR_TICKS, STIR_HEIGHT = 30, 0.05  # [m]
REACHED, YAW_REACHED = 0.01, 0.05  # [m], [rad]
CLEAR = 0.08  # so far below its way the hand rises before it moves sideways: out of drawer and shelf first [m]
# half ranges of where episodes begin: about a home of one's own, and about where a demonstration began [m], [rad]
SPREAD, YAW_SPREAD = (0.10, 0.20, 0.06), 0.4
NEAR, YAW_NEAR = (0.03, 0.03, 0.02), 0.1
Place = tuple[float, float, float, float]
"""x, y, z [m] of the tool centre point in base, and its yaw [rad]."""


@dataclass(frozen=True)
class Home:
    """Where the tool centre point shall be between episodes, in base: `position` (3,) [m] and `yaw` [rad].

    `travel` is the height at which it moves sideways [m]; None: that of the position.
    """

    position: tuple[float, float, float]
    yaw: float = 0.0
    travel: float | None = None

    def action(self, tcp: np.ndarray, yaw: float, scale: np.ndarray, turned: float = 0.0) -> np.ndarray | None:
        """The next action `(5,)` in [-1, 1] from the tool centre point `tcp` `(3,)` [m] and its `yaw` [rad]; None when there.

        Args:
            scale: of the contract's action, `(5,)`.
            turned: how far the last joint has turned the tool away from home [rad], see `Wrist`; it turns the long way round
                where the short one would wind that joint up.
        """
        step = np.array(self.position) - tcp
        turn = unwinding(wrap_angle(self.yaw - yaw), turned)
        if np.linalg.norm(step) < REACHED and abs(turn) < YAW_REACHED:
            return None
        rise = (self.position[2] if self.travel is None else self.travel) - tcp[2]
        if rise > CLEAR and np.linalg.norm(step[:2]) > REACHED:
            step[:] = 0.0, 0.0, rise
        move = np.clip(np.append(step, turn) / scale[:4], -1, 1)
        return np.append(move, -1.0).astype(np.float32)


@dataclass(frozen=True)
class Homes:
    """Where episodes of practice begin: within `spread` (3,) [m] and `yaw_spread` [rad] of one of the `places`, at random.

    A policy acts best from where demonstrations began, and what practice adds should be about those beginnings: a clone of the
    drawer that opened it 29 times of 30 from where its ten demonstrations had begun did so 14 times about a home chosen freely.
    """

    places: tuple[Place, ...] = ((0.40, 0.0, 0.24, 0.0),)
    spread: tuple[float, ...] = SPREAD
    yaw_spread: float = YAW_SPREAD

    @staticmethod
    def demonstrated(places: Sequence[Place]) -> Homes:
        """Those of demonstrations that began at these places."""
        return Homes(tuple(places), NEAR, YAW_NEAR)

    def draw(self, rng: np.random.Generator) -> Home:
        """One of them; the way there is as high as the highest place, or higher."""
        *middle, yaw = self.places[int(rng.integers(len(self.places)))]
        x, y, z = np.array(middle) + rng.uniform(-1.0, 1.0, 3) * self.spread
        turn = float(rng.uniform(-self.yaw_spread, self.yaw_spread))
        return Home((float(x), float(y), float(z)), yaw + turn, max(*(place[2] for place in self.places), float(z)))


class Stirring:
    """`STIR_TICKS` actions at random, low above the desk: what lies in a corner may come out of it."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng, self._value = rng, np.zeros(5)

    def action(self, tcp: np.ndarray) -> np.ndarray:
        """The next action `(5,)` in [-1, 1] from the tool centre point `tcp` `(3,)` [m]."""
        self._value = 0.8 * self._value + 0.6 * self._rng.standard_normal(5)
        pull = np.array([0, 0, -0.5 if tcp[2] > STIR_HEIGHT else 0.3, 0, 0])
        return np.clip(self._value + pull, -1, 1).astype(np.float32)
