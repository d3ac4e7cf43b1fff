"""What an arm does by itself between episodes, as actions: it goes home, or stirs the scene. Knows no simulator."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from robot_learning.control.rotations import wrap_angle

STIR_TICKS, STIR_HEIGHT = 30, 0.05  # [m]
REACHED, YAW_REACHED = 0.01, 0.05  # [m], [rad]
CLEAR = 0.08  # so far below its goal the hand rises before it moves sideways: out of drawer and shelf first [m]


@dataclass(frozen=True)
class Home:
    """Where the tool centre point shall be between episodes, in base: `position` (3,) [m] and `yaw` [rad]."""

    position: tuple[float, float, float]
    yaw: float = 0.0

    def scattered(self, rng: np.random.Generator) -> Home:
        """A home some centimetres away, so that episodes do not all begin alike."""
        x, y, z = np.array(self.position) + rng.uniform(-0.04, 0.04, 3) * (1, 2, 1)
        return Home((float(x), float(y), float(z)), self.yaw + float(rng.uniform(-0.3, 0.3)))

    def action(self, tcp: np.ndarray, yaw: float, scale: np.ndarray) -> np.ndarray | None:
        """The next action `(5,)` in [-1, 1] from the tool centre point `tcp` `(3,)` [m] and its `yaw` [rad]; None when there.

        Args:
            scale: of the contract's action, `(5,)`.
        """
        step = np.array(self.position) - tcp
        turn = float(wrap_angle(self.yaw - yaw))
        if np.linalg.norm(step) < REACHED and abs(turn) < YAW_REACHED:
            return None
        if step[2] > CLEAR:
            step[:2] = 0.0
        move = np.clip(np.append(step, turn) / scale[:4], -1, 1)
        return np.append(move, -1.0).astype(np.float32)


class Stirring:
    """`STIR_TICKS` actions at random, low above the desk: what lies in a corner may come out of it."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng, self._value = rng, np.zeros(5)

    def action(self, tcp: np.ndarray) -> np.ndarray:
        """The next action `(5,)` in [-1, 1] from the tool centre point `tcp` `(3,)` [m]."""
        self._value = 0.8 * self._value + 0.6 * self._rng.standard_normal(5)
        pull = np.array([0, 0, -0.5 if tcp[2] > STIR_HEIGHT else 0.3, 0, 0])
        return np.clip(self._value + pull, -1, 1).astype(np.float32)
