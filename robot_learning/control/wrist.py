"""How far the last joint of an arm is wound up, which the tool's yaw does not tell."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from robot_learning.contract import Contract
from robot_learning.control.kinematics import Kinematics
from robot_learning.control.rotations import wrap_angle

PROBE = 0.1  # [rad]
MOST = (
    math.pi + 0.5
)  # half a turn either way, and so much more that a target half a turn from home is no matter of luck [rad]


def unwinding(turn: float, turned: float) -> float:
    """The turn [rad] to make for the tool to come to the same yaw as by `turn`: another one where that would wind the wrist up.

    Args:
        turn: the short way, in (-pi, pi] [rad].
        turned: how far the wrist is turned now (`Wrist.turned`) [rad].
    """
    after = turned + turn
    return turn - 2 * math.pi * round(after / (2 * math.pi)) if abs(after) > MOST else turn


class Wrist:
    """Tells how far the last joint has turned the tool away from home, whole turns included.

    The yaw of the tool is the same again after a whole turn, the joint is not: over episodes without a reset it winds up, in the
    end to its limit, where the hand turns no further whatever a policy asks for.
    """

    def __init__(self, contract: Contract, kinematics: Kinematics | None = None) -> None:
        kinematics = kinematics or Kinematics(contract)
        home = np.array(contract.joints.home)
        probe = home.copy()
        probe[-1] += PROBE
        moved = wrap_angle(kinematics.forward(probe).yaw - kinematics.forward(home).yaw) / PROBE
        self._home, self._name = float(home[-1]), f"{contract.joints.names[-1]}.pos"
        # 0: this joint does something else than turn the tool
        self._sense = round(moved) if abs(abs(moved) - 1.0) < PROBE else 0

    def turned(self, joint: float) -> float:
        """So far has the last joint, now at `joint` [rad], turned the tool away from home, in the sense of its yaw [rad]."""
        return self._sense * (joint - self._home)

    def turned_in(self, names: Sequence[str], state: np.ndarray) -> float:
        """`turned`, from a state `(n,)` whose elements have these `names`; 0 where it does not tell."""
        return self.turned(float(state[names.index(self._name)])) if self._name in names else 0.0
