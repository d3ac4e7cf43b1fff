"""What a person does with a hand, as generators of actions: move, turn, grip, pause. They read the room at every tick."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass

import numpy as np

from robot_learning.control.rotations import wrap_angle
from robot_learning.control.wrist import Wrist, unwinding
from robot_learning.envs.playroom import Playroom

Motion = Generator[np.ndarray, None, None]
Target = np.ndarray | Callable[[], np.ndarray]

GAIN = 0.75  # share of the remaining way one tick tries to cover; 1 would overshoot by the arm's lag
TRAVEL_HEIGHT = 0.17  # the fingertips clear shelf and standing block here [m]


@dataclass(frozen=True)
class Style:
    """How one person does it once.

    Attributes:
        way: which of a script's ways, a number the script reads modulo its ways.
        speed: share of the largest step, 0..1; precision: how near a waypoint counts as reached [m].
        height: extra height of travel [m]; noise: size of the correlated noise, in action units.
        pause: chance of a short stop between two motions.
    """

    way: int = 0
    speed: float = 1.0
    precision: float = 0.009
    height: float = 0.0
    noise: float = 0.15
    pause: float = 0.1


class Hand:
    """The demonstrator's hand: each method is a generator that yields actions `(5,)` until its aim is reached."""

    def __init__(self, room: Playroom, rng: np.random.Generator, style: Style) -> None:
        self.room, self.rng, self.style = room, rng, style
        self.scale = np.array(room.contract.action.scale)
        self.wrist = Wrist(room.contract, room.controller.kinematics)

    def move(
        self,
        target: Target,
        yaw: float | None = None,
        speed: float = 1.0,
        precision: float | None = None,
        until: Callable[[], bool] | None = None,
        ticks: int = 60,
    ) -> Motion:
        """Move the tool centre point to a world position `(3,)`, and turn to `yaw`; gives up after `ticks`."""
        precision = precision or self.style.precision
        for _ in range(ticks):
            goal = target() if callable(target) else target
            error = goal - self.room.tcp
            turn = 0.0 if yaw is None else self._turn(yaw)
            if (until and until()) or (np.linalg.norm(error) < precision and abs(turn) < 0.06):
                break
            yield self._towards(error, turn, speed)
        if self.rng.random() < self.style.pause:
            yield from self.pause(int(self.rng.integers(1, 5)))

    def _turn(self, yaw: float) -> float:
        """How far to turn for the tool's `yaw` [rad]: the short way, unless that winds the wrist up."""
        return unwinding(wrap_angle(yaw - self.room.tcp_yaw), self.wrist.turned(self.room.joints[-1]))

    def _towards(self, error: np.ndarray, turn: float, speed: float) -> np.ndarray:
        limit = self.style.speed * speed
        move = GAIN * error / self.scale[:3]
        longest = float(np.abs(move).max())
        if longest > limit:  # keep the direction
            move *= limit / longest
        spin = np.clip(GAIN * turn / self.scale[3], -limit, limit)
        return np.array([*move, spin, 0.0])

    def above(self, target: np.ndarray, yaw: float | None = None, height: float | None = None) -> Motion:
        """Go to a place above `target`: up first, then across, as high as `height` (default: clear of everything)."""
        top = (TRAVEL_HEIGHT if height is None else height) + self.style.height
        here = self.room.tcp
        if here[2] < top - 0.03:
            yield from self.move(np.array([here[0], here[1], top]), precision=0.03)
        yield from self.move(np.array([target[0], target[1], top]), yaw, precision=0.02)

    def descend(self, target: Target, yaw: float | None = None, speed: float = 0.7, hover: float = 0.05) -> Motion:
        """Go above `target`, line up `hover` over it, then down onto it."""

        def point() -> np.ndarray:
            return target() if callable(target) else target

        yield from self.above(point(), yaw)
        yield from self.move(lambda: point() + np.array([0.0, 0.0, hover]), yaw, precision=0.010)
        yield from self.move(point, yaw, speed)

    def grip(self, position: float, ticks: int = 8) -> Motion:
        """Drive the gripper to `position` (0 open .. 1 closed), or until it stops on something."""
        last = -1.0
        for _ in range(ticks):
            now = self.room.gripper
            if abs(position - now) < 0.03 or (position > now and abs(now - last) < 0.004):
                return
            last = now
            yield np.array([0.0, 0.0, 0.0, 0.0, np.clip((position - now) / self.scale[4], -1, 1)])

    def close(self) -> Motion:
        """Close until the fingers stop, and squeeze."""
        yield from self.grip(1.0)
        yield np.array([0.0, 0.0, 0.0, 0.0, 1.0])

    def open(self, position: float = 0.0) -> Motion:
        """Open the gripper."""
        yield from self.grip(position)

    def pause(self, ticks: int) -> Motion:
        """Hold still."""
        for _ in range(ticks):
            yield np.zeros(5)


def nearest_grasp(angle: float, now: float) -> float:
    """Of the yaws that grasp alike (a half turn apart), the one nearest to `now` [rad]."""
    return now + (wrap_angle(2 * (angle - now)) / 2)
