"""Retries: an attempt that takes too long is given up, the arm goes back to where a demonstration began, and tries again.

A clone that has gone wrong, fingers beside the handle, say, stays there: no demonstration shows how to begin anew. How long an
attempt may take and where attempts begin is known from the demonstrations, so this needs nobody who watches.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from robot_learning.contract import STATE, Contract
from robot_learning.control.homing import Home, Place
from robot_learning.control.tool_pose import TOOL, tool_pose
from robot_learning.control.wrist import Wrist

ACTION = ("dx", "dy", "dz", "dyaw", "gripper")
PATIENCE, SLOW = (
    1.3,
    0.9,
)  # an attempt may take so many times as long as all but the slowest tenth of the demonstrations
MOST_STARTS = 32
RETREAT_TICKS = 60  # no way back takes longer


@dataclass(frozen=True)
class RetryPlan:
    """How long an attempt at each task may take [control ticks], and where attempts begin: x, y, z [m] and yaw [rad]."""

    ticks: dict[str, int]
    starts: tuple[Place, ...]

    @staticmethod
    def of(contract: Contract, states: np.ndarray, ends: np.ndarray, tasks: Sequence[str]) -> RetryPlan | None:
        """Of demonstrations: `states` (N, n) observation.state of their frames, `ends` (N,) and `tasks` of each frame as in
        `Demonstrations`. None where the robot's state has no tool pose, or its action is no motion of the tool.
        """
        names = contract.observation[STATE].names if STATE in contract.observation else ()
        if tuple(contract.action.names) != ACTION or not set(TOOL) <= set(names):
            return None
        stops = np.unique(ends)
        begins = np.concatenate([[0], stops[:-1]])
        poses = np.array([np.append(*tool_pose(names, state)) for state in states[begins]])
        shown = np.unique(np.linspace(0, len(poses) - 1, min(MOST_STARTS, len(poses))).round().astype(int))
        took: dict[str, list[int]] = {}
        for begin, stop in zip(begins.tolist(), stops.tolist(), strict=True):
            took.setdefault(tasks[begin], []).append(stop - begin)
        ticks = {task: math.ceil(PATIENCE * float(np.quantile(lengths, SLOW))) for task, lengths in took.items()}
        starts = [(float(a), float(b), float(c), float(d)) for a, b, c, d in poses[shown].round(4)]
        return RetryPlan(ticks, tuple(starts))

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {"ticks": self.ticks, "starts": [list(start) for start in self.starts]}

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> RetryPlan:
        """Reverse of `to_dict`."""
        return RetryPlan(dict(data["ticks"]), tuple(tuple(start) for start in data["starts"]))


class Retries:
    """Counts the ticks of an attempt and drives the arm back when they are over. Call `action` at every control tick.

    Attributes:
        attempt: number of the attempt within this episode, from 0.
        is_retreating: whether the last action was one of the way back.
        wrist: of this robot; making one takes half a second, so another plan may take it over.
    """

    def __init__(self, plan: RetryPlan, contract: Contract, wrist: Wrist | None = None) -> None:
        self.plan = plan
        self._names = contract.observation[STATE].names
        self._scale, self.wrist = np.array(contract.action.scale), wrist or Wrist(contract)
        self._travel = max(start[2] for start in plan.starts)
        self.reset()

    def reset(self) -> None:
        """A new episode begins."""
        self.attempt, self.is_retreating = 0, False
        self._ticks = 0
        self._home: Home | None = None

    @property
    def told(self) -> str:
        """What there is to say of it, for people; empty in the first attempt."""
        if self.is_retreating:
            return f", attempt {self.attempt} took too long: going back"
        return f", attempt {self.attempt + 1}" if self.attempt else ""

    def action(self, state: np.ndarray, task: str, held: bool = False) -> np.ndarray | None:
        """The action `(5,)` in [-1, 1] of the way back from `state`, observation.state `(n,)`; None: the policy shall act.

        `held`: the robot did nothing of what it was last told, so this tick takes no attempt's time, nor that of the way back.

        From a pose that is not finite there is no way: the policy, which checks what it reads, says what is wrong.
        """
        position, yaw = tool_pose(self._names, state)
        turned = self.wrist.turned_in(self._names, state)
        if not np.isfinite([*position, yaw, turned]).all():
            return None
        most = self.plan.ticks.get(task)
        if self._home is None and most is not None and self._ticks >= most:
            self.attempt += 1
            self._ticks = 0
            x, y, z, turn = self.plan.starts[int(np.random.default_rng(self.attempt).integers(len(self.plan.starts)))]
            self._home = Home((x, y, z), turn, self._travel)
        self._ticks += not held
        if self._home is not None:
            action = self._home.action(position, yaw, self._scale, turned)
            if action is not None and self._ticks <= RETREAT_TICKS:
                self.is_retreating = True
                return action
            self._home, self._ticks = None, 1
        self.is_retreating = False
        return None
