"""Quaternion order, yaw and angle wrapping."""

from __future__ import annotations

import math

import mujoco
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robot_learning.control.rotations import tool_down, wrap_angle, wxyz_from_xyzw, xyzw_from_wxyz, yaw_of


@given(st.floats(-1e3, 1e3))
def test_a_wrapped_angle_is_the_same_angle_in_range(angle: float):
    wrapped = wrap_angle(angle)
    assert -math.pi < wrapped <= math.pi
    assert math.cos(wrapped - angle) == pytest.approx(1.0)


@pytest.mark.parametrize(("angle", "wrapped"), [(math.pi, math.pi), (-math.pi, math.pi), (0.5, 0.5)])
def test_the_range_is_closed_at_plus_pi(angle: float, wrapped: float):
    assert wrap_angle(angle) == pytest.approx(wrapped)


@given(st.floats(-3.1, 3.1))
def test_tool_down_points_down_and_has_its_yaw(yaw: float):
    matrix = np.empty(9)
    mujoco.mju_quat2Mat(matrix, wxyz_from_xyzw(tool_down(yaw)))
    rotation = matrix.reshape(3, 3)
    assert rotation[:, 2] == pytest.approx([0.0, 0.0, -1.0], abs=1e-12)
    assert yaw_of(rotation) == pytest.approx(yaw)


def test_quaternion_orders_are_inverse():
    assert xyzw_from_wxyz(np.array([1.0, 2.0, 3.0, 4.0])).tolist() == [2.0, 3.0, 4.0, 1.0]
    assert wxyz_from_xyzw(np.array([2.0, 3.0, 4.0, 1.0])).tolist() == [1.0, 2.0, 3.0, 4.0]
