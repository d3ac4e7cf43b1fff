"""Limits of commands: pure functions that return what is allowed and name what they had to change.

All clamps are of the form "bring it inside, unless it was outside before, then at least no further out": a robot that
starts outside a limit is not thrown back in by its first command.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from robot_learning.contract import Action, Joints, Workspace
from robot_learning.control.rotations import Array, wrap_angle
from robot_learning.errors import UserError

ROUNDING = 1e-9  # smaller excesses are rounding of float arithmetic, not worth a report


class ActionError(UserError, ValueError):
    """An action or measurement has the wrong shape or holds NaN or infinity; nothing was commanded."""


@dataclass(frozen=True)
class Clamped:
    """An allowed `value` (N,) and the names of what was changed for it, e.g. ("workspace x",); empty if nothing was."""

    value: Array
    clamps: tuple[str, ...] = ()


def checked_vector(values: ArrayLike, names: tuple[str, ...], what: str) -> Array:
    """`values` as float64 (N,), one for each of `names`.

    Raises:
        ActionError: wrong shape, not numbers, or NaN or infinity; names the entry.
    """
    try:
        vector = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ActionError(f"{what}: expected {len(names)} numbers {list(names)}, found {values!r}") from error
    if vector.shape != (len(names),):
        raise ActionError(f"{what}: expected shape ({len(names)},) for {list(names)}, found shape {vector.shape}")
    finite = np.isfinite(vector)
    if not finite.all():
        bad = ", ".join(f"{name} = {value}" for name, value, ok in zip(names, vector, finite, strict=True) if not ok)
        raise ActionError(
            f"{what}: expected finite numbers, found {bad}; check what produced it, nothing was commanded"
        )
    return vector


def clip_action(values: ArrayLike, action: Action) -> Clamped:
    """An action (A,) clipped to [-1, 1]; clamps are named "action dx".

    Raises:
        ActionError: as `checked_vector`.
    """
    vector = checked_vector(values, action.names, "action")
    return _clamp(vector, np.full_like(vector, -1.0), np.full_like(vector, 1.0), action.names, "action")


def clamp_workspace(position: Array, previous: Array, workspace: Workspace) -> Clamped:
    """A target position (3,) [m] kept in the box, in base; clamps are named "workspace x"."""
    lower = np.minimum(workspace.lower, previous)
    upper = np.maximum(workspace.upper, previous)
    return _clamp(position, lower, upper, ("x", "y", "z"), "workspace")


def clamp_joint_positions(joints: Array, previous: Array, limits: Joints) -> Clamped:
    """Joint targets (J,) [rad] kept `limits.margin` away from the limits; clamps are named "position elbow_joint"."""
    lower = np.minimum(np.array(limits.lower) + limits.margin, previous)
    upper = np.maximum(np.array(limits.upper) - limits.margin, previous)
    return _clamp(joints, lower, upper, limits.names, "position")


def joint_velocity_excess(joints: Array, previous: Array, limits: Joints, period: float) -> float:
    """How many times over its velocity limit the fastest joint is when `previous` becomes `joints` in one `period` [s]."""
    return float(np.max(np.abs(joints - previous) / (np.array(limits.velocity) * period)))


def clamp_joint_velocity(joints: Array, previous: Array, limits: Joints, period: float) -> Clamped:
    """Joint targets (J,) [rad] no further from `previous` than the velocity limits allow in one `period` [s].

    The whole step is shortened, which keeps its direction; clamps are named "velocity elbow_joint".
    """
    step = joints - previous
    excess = np.abs(step) / (np.array(limits.velocity) * period)
    worst = float(excess.max())
    if worst <= 1.0 + ROUNDING:
        return Clamped(joints)
    names = tuple(f"velocity {name}" for name, e in zip(limits.names, excess, strict=True) if e > 1.0 + ROUNDING)
    return Clamped(previous + step / worst, names)


def clamp_distance(target: Array, origin: Array, limit: float, name: str) -> Clamped:
    """A target position (3,) [m] no further than `limit` [m] from `origin`, on the line to it; the clamp is `name`."""
    offset = target - origin
    distance = float(np.linalg.norm(offset))
    if distance <= limit + ROUNDING:
        return Clamped(target)
    return Clamped(origin + offset * (limit / distance), (name,))


def clamp_angle(target: float, origin: float, limit: float, name: str) -> tuple[float, tuple[str, ...]]:
    """A target angle [rad] no further than `limit` [rad] from `origin`, the short way round, in (-pi, pi]."""
    offset = wrap_angle(target - origin)
    if abs(offset) <= limit + ROUNDING:
        return wrap_angle(target), ()
    return wrap_angle(origin + np.sign(offset) * limit), (name,)


def _clamp(values: Array, lower: Array, upper: Array, names: tuple[str, ...], what: str) -> Clamped:
    clipped = np.clip(values, lower, upper)
    changed = np.abs(clipped - values) > ROUNDING
    return Clamped(clipped, tuple(f"{what} {name}" for name, c in zip(names, changed, strict=True) if c))
