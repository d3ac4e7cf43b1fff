"""A gamepad (sensor_msgs/Joy) as motion: it moves the robot only while its deadman button is down."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from robot_learning.control.rotations import Array

TIMEOUT = 0.3  # a gamepad that has not been heard for this long is released [s]


@dataclass(frozen=True)
class Mapping:
    """Which axis and button does what; the index counts from 0 and -1 means none.

    Attributes:
        axes: of forward, left, up and turning left; signs: 1 or -1 for each; deadzone: smaller deflections are none.
        buttons: index -> service to call when it is pressed.
    """

    axes: tuple[int, ...]
    signs: tuple[float, ...]
    deadman: int
    close: int
    open: int
    buttons: dict[int, str]
    deadzone: float = 0.1


class Gamepad:
    """Turns Joy messages into an action and into services to call. Time is passed in, in seconds of a monotonic clock."""

    def __init__(self, mapping: Mapping, speed: float = 1.0) -> None:
        self._mapping, self._speed = mapping, speed
        self._down: frozenset[int] = frozenset()
        self._action: Array | None = None
        self._heard = 0.0
        self.problem = ""

    def update(self, axes: Sequence[float], buttons: Sequence[int], now: float) -> list[str]:
        """Take one message; returns the services whose buttons were pressed since the last."""
        mapping = self._mapping
        self._heard, self._action, self.problem = now, None, ""
        before, self._down = self._down, frozenset(i for i, value in enumerate(buttons) if value)
        highest_axis = max(mapping.axes)
        if highest_axis >= len(axes) or mapping.deadman >= len(buttons):  # it moves nothing, but its e-stop works
            self.problem = (
                f"the gamepad has {len(axes)} axes and {len(buttons)} buttons; the parameters name axis {highest_axis} "
                f"and deadman button {mapping.deadman}"
            )
        elif mapping.deadman in self._down:
            signs = zip(mapping.axes, mapping.signs, strict=True)
            moves = [self._speed * self._deflection(axes[i] * sign) if i >= 0 else 0.0 for i, sign in signs]
            gripper = float(mapping.close in self._down) - float(mapping.open in self._down)
            self._action = np.array([*moves, gripper])
        return [service for button, service in mapping.buttons.items() if button in self._down - before]

    def action(self, now: float) -> Array | None:
        """The action (5,) while the deadman button is down, else None."""
        return self._action if now - self._heard <= TIMEOUT else None

    def _deflection(self, value: float) -> float:
        """In [-1, 1]: zero within the deadzone, and from there on without a step; a broken driver's NaN and infinity are zero."""
        dead = self._mapping.deadzone
        size = min(abs(value), 1.0) if math.isfinite(value) else 0.0
        return float(np.sign(value)) * (size - dead) / (1.0 - dead) if size > dead else 0.0
