"""Rotations at the boundary of the package: quaternions are xyzw here and in ROS, wxyz inside MuJoCo and mink."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def xyzw_from_wxyz(quaternion: Array) -> Array:
    """A quaternion (..., 4) of MuJoCo as one of ROS."""
    return quaternion[..., [1, 2, 3, 0]]


def wxyz_from_xyzw(quaternion: Array) -> Array:
    """A quaternion (..., 4) of ROS as one of MuJoCo."""
    return quaternion[..., [3, 0, 1, 2]]


def wrap_angle(angle: float) -> float:
    """The same angle in (-pi, pi] [rad]."""
    return math.pi - (math.pi - angle) % (2.0 * math.pi)


def yaw_of(rotation: Array) -> float:
    """Yaw in (-pi, pi] [rad] of a tool with this rotation (3, 3) in base: where its x axis points, about the base's z."""
    return wrap_angle(math.atan2(rotation[1, 0], rotation[0, 0]))


def tool_down(yaw: float) -> Array:
    """The quaternion (4,) xyzw in base of a tool whose z axis points straight down and whose x axis has this yaw [rad]."""
    # Rz(yaw) Rx(pi)
    return np.array([math.cos(yaw / 2.0), math.sin(yaw / 2.0), 0.0, 0.0])
