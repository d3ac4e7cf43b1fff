"""The way home as actions: open the gripper, rise out of whatever the hand is in, drive above the desk. Knows no simulator."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from robot_learning.control.rotations import wrap_angle

REACHED, YAW_REACHED = 0.01, 0.05  # [m], [rad]
CLEAR = 0.08  # so far below its goal the hand rises before it moves sideways: out of drawer and shelf first [m]


@dataclass(frozen=True)
class Home:
    """Where the tool centre point shall be, in base: `position` (3,) [m] and `yaw` [rad]."""

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
