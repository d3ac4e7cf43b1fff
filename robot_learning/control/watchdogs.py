"""What the safety gate watches, one small object each. Time is passed in, in nanoseconds, so that tests set it.

Two clocks: `now` is the robot's (simulated where `use_sim_time` is set), to which messages are stamped; `wall` is a
monotonic one, for devices that must be watched although simulated time stands still.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from robot_learning.contract import Contract
from robot_learning.control.rotations import Array
from robot_learning.errors import UserError

SECOND = 1_000_000_000  # [ns]
FUTURE = 0.5  # a stamp further ahead of the clock than this was made by another clock [s]
JUMP_FACTOR = (
    5.0  # joints cannot move this many times faster than their limit: somebody put them there, or an encoder fails
)
JUMP_FLOOR = 0.1  # and smaller steps than this are never called a jump [rad]
NODE_ERROR = 2  # diagnostic_msgs/DiagnosticStatus: 0 OK, 1 WARN, 2 ERROR, 3 STALE


@dataclass(frozen=True)
class Hold:
    """Why the robot holds. `latched`: only a person ends it; `moved`: others may have moved the robot meanwhile."""

    text: str
    latched: bool = False
    moved: bool = False


class TokenBucket:
    """Lets `rate` events a second through [Hz], and `burst` at once after a pause."""

    def __init__(self, rate: float, burst: int = 2, slack: float = 1.02) -> None:
        self._per_ns, self._burst = rate * slack / SECOND, float(burst)  # slack: two clocks of one rate never agree
        self.refill()

    def refill(self) -> None:
        """Full again, whatever the time: after the clock was set."""
        self._tokens, self._last = self._burst, -1

    def take(self, now: int) -> bool:
        """Whether one more event may pass at `now` [ns]."""
        if self._last >= 0:
            self._tokens = min(self._burst, self._tokens + max(0, now - self._last) * self._per_ns)
        self._last = now
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True


class JointWatch:
    """The newest position of every joint of the contract, by name, from one or several publishers of joint_states.

    Args:
        max_age: older positions than this are stale [s].
    """

    def __init__(self, contract: Contract, max_age: float) -> None:
        self.names = (*contract.joints.names, contract.gripper.joint)
        self.max_age = max_age
        self.jumps_back = 0
        self._speed = contract.joints.velocity
        self.clear()

    def clear(self, since: str = "") -> None:
        """Forget everything: what was stamped by a clock that has been set says nothing. `since` what, for the reason."""
        self._since, self._received = since, 0
        self._seen: dict[str, tuple[int, int, float]] = {}  # name -> stamp, when it was received, position
        self._others: tuple[str, ...] = ()
        self._problem = ""
        self._stale_note = ""

    def update(self, names: Sequence[str], positions: Sequence[float], stamp: int, now: int) -> str:
        """Take one message (`stamp` 0: not stamped); says which joint jumped, or "" when none did."""
        self._problem, self._received, stamp = "", now, stamp or now
        if len(names) != len(positions):
            self._problem = f"joint_states has {len(names)} names and {len(positions)} positions"
        elif twice := [name for name in self.names if list(names).count(name) > 1]:
            self._problem = f"joint_states names {', '.join(twice)} more than once; do two drivers share the topic?"
        elif stamp - now > FUTURE * SECOND:
            self._problem = (
                f"joint_states is stamped {(stamp - now) / SECOND:.1f} s ahead of the clock; "
                f"is use_sim_time alike everywhere, and do the machines' clocks agree?"
            )
        if self._problem:
            return ""
        found = dict(zip(names, positions, strict=True))
        self._others = tuple(name for name in names if name not in self.names)
        bad = [f"{name} = {found[name]}" for name in self.names if name in found and not math.isfinite(found[name])]
        if bad:
            self._problem = f"joint_states: {', '.join(bad)}"
            return ""
        moved = [self._take(i, name, found[name], stamp, now) for i, name in enumerate(self.names) if name in found]
        return next(filter(None, moved), "")

    def _take(self, index: int, name: str, position: float, stamp: int, now: int) -> str:
        last = self._seen.get(name)
        if last is not None and stamp < last[0]:
            self.jumps_back += 1
            self._stale_note = "; its stamps went back"
            return ""
        self._stale_note = ""
        self._seen[name] = (stamp, now, float(position))
        if last is None or index == len(self._speed):  # fingers weigh little and may be moved by hand
            return ""
        step, span = abs(position - last[2]), (stamp - last[0]) / SECOND
        allowed = max(JUMP_FLOOR, JUMP_FACTOR * self._speed[index] * span)
        return f"{name} jumped by {step:.2f} within {1000 * span:.0f} ms" if step > allowed else ""

    def fault(self, now: int) -> Hold | None:
        """Why the joints' positions are not known well enough to move; None when they are."""
        if self._problem:
            return Hold(self._problem)
        missing = [name for name in self.names if name not in self._seen]
        if len(missing) == len(self.names) and not self._others:
            return Hold(f"no joint_states {self._since or 'yet'}; is the robot's driver running?")
        if missing:
            known = [*self._seen, *self._others]
            return Hold(f"joint_states lacks {missing}, which the contract names; it has {known}")
        if self._received > now:
            return Hold(f"the clock was set back by {(self._received - now) / SECOND:.2f} s", moved=True)
        oldest = min(self.names, key=lambda name: min(self._seen[name][:2]))
        if now - min(self._seen[oldest][:2]) > self.max_age * SECOND:
            what = "joint_states is"
            if self._others and now - self._received <= self.max_age * SECOND:
                what = f"joint_states has {list(self._others)} now, its {oldest} is"
            return Hold(f"{what} older than {self.max_age:g} s{self._stale_note}")
        return None

    @property
    def joints(self) -> Array:
        """Newest positions (J,) [rad] in the contract's order; `fault` must be None."""
        return np.array([self._seen[name][2] for name in self.names[:-1]])

    @property
    def gripper(self) -> float:
        """Newest position of the gripper joint [rad or m]."""
        return self._seen[self.names[-1]][2]


class EstopError(UserError, RuntimeError):
    """The emergency stop cannot be reset yet."""


class EmergencyStop:
    """A latch: it closes when the button is pressed or its device falls silent, and opens by `reset` only.

    Args:
        timeout: a device once seen that is not heard for longer than this counts as pressed [s].
        required: hold until a device has been heard for the first time.
    """

    def __init__(self, timeout: float, required: bool = False) -> None:
        self._timeout, self._required = timeout, required
        self._latched = ""
        self._pressed = False
        self._vouched: bool | None = False
        self._heard: int | None = None
        self._devices = 0

    def devices(self, number: int) -> None:
        """How many publish: a message does not say whose button it tells of, so that there must be one."""
        self._devices = number

    def message(self, pressed: bool, wall: int) -> None:
        """The device says whether its button is down."""
        self._pressed, self._heard = pressed, wall
        if pressed:
            self.press("the e-stop is pressed")

    def vouch(self, alive: bool | None) -> None:
        """Whether the middleware (liveliness) vouches for a device, which then may speak only when its button moves.

        None: the device offers it, but the middleware has not said anything yet, so that nothing would tell of its death.
        """
        self._vouched = alive

    def lost(self) -> None:
        """The device's publisher is gone."""
        if self._heard is not None:
            self._heard = None
            self._required = True
            self.press("the e-stop's publisher is gone")

    def press(self, why: str) -> None:
        """Close the latch; the first reason stays."""
        self._latched = self._latched or why

    def reset(self, wall: int) -> None:
        """Open the latch.

        Raises:
            EstopError: the button is still down, or the device is not heard.
        """
        if self._devices > 1:
            raise EstopError(f"{self._devices} devices publish on estop: stop all but one, then reset")
        if self._pressed and self._heard is not None:
            raise EstopError("the e-stop is still pressed: release it first, then reset")
        if (self._required and self._heard is None) or self._is_silent(wall):
            raise EstopError("the e-stop's publisher is not heard: start the device first, then reset")
        self._latched = ""

    def fault(self, wall: int) -> Hold | None:
        """Why the stop holds the robot; None when it does not."""
        if self._is_silent(wall):
            self.press(f"the e-stop has been silent for more than {self._timeout:g} s")
        if self._latched:
            return Hold(f"{self._latched}; release it and call reset_estop", latched=True, moved=True)
        if self._devices > 1:
            return Hold(
                f"{self._devices} devices publish on estop, and nothing tells whose button is down; join them into one",
                moved=True,
            )
        if self._vouched is None:
            return Hold("an e-stop has come, and the middleware does not yet vouch for it")
        if self._required and self._heard is None:
            return Hold("no e-stop heard yet, and the parameter estop_required asks for one")
        return None

    def _is_silent(self, wall: int) -> bool:
        return self._heard is not None and self._vouched is False and wall - self._heard > self._timeout * SECOND


class NodeWatch:
    """The health of nodes that must be well while they are needed; unheard of is not well.

    Args:
        timeout: a status older than this is no status [s].
    """

    def __init__(self, names: Sequence[str], timeout: float) -> None:
        self.names = tuple(names)
        self._timeout = timeout
        self._last: dict[str, tuple[int, int, str]] = {}  # name -> wall, level, message

    def update(self, name: str, level: int, message: str, wall: int) -> None:
        """Take one status."""
        self._last[name] = (wall, level, message)

    def fault(self, needed: Sequence[str], wall: int) -> Hold | None:
        """The first of the `needed` nodes that is silent or in error; None when all are well."""
        for name in needed:
            if name not in self._last:
                return Hold(f"{name} has sent no status yet")
            at, level, message = self._last[name]
            if wall - at > self._timeout * SECOND:
                return Hold(f"{name} has been silent for more than {self._timeout:g} s")
            if level >= NODE_ERROR:
                return Hold(f"{name} is in error: {message}")
        return None
