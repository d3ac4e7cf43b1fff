"""Each limit alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from robot_learning.contract import Contract
from robot_learning.control.limits import (
    ActionError,
    clamp_angle,
    clamp_distance,
    clamp_joint_positions,
    clamp_joint_velocity,
    clamp_workspace,
    clip_action,
)
from robot_learning.control.rotations import wrap_angle

numbers = st.floats(-10.0, 10.0)
six = arrays(np.float64, 6, elements=numbers)
three = arrays(np.float64, 3, elements=numbers)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_an_entry_that_is_not_finite_is_refused_by_name(contract: Contract, bad: float):
    with pytest.raises(ActionError, match=r"dyaw = (nan|-?inf)"):
        clip_action([0.0, 0.0, 0.0, bad, 0.0], contract.action)


@pytest.mark.parametrize("bad", [[0.0] * 4, [[0.0] * 5], 0.0])
def test_a_wrong_shape_is_refused(contract: Contract, bad: object):
    with pytest.raises(ActionError, match=r"expected shape \(5,\).*found shape"):
        clip_action(bad, contract.action)


def test_text_is_refused(contract: Contract):
    with pytest.raises(ActionError, match="expected 5 numbers"):
        clip_action(["a", "b", "c", "d", "e"], contract.action)


def test_an_action_is_clipped_and_the_entries_named(contract: Contract):
    clipped = clip_action([1.5, 0.5, -7.0, 1.0, -1.0], contract.action)
    assert clipped.value.tolist() == [1.0, 0.5, -1.0, 1.0, -1.0]
    assert clipped.clamps == ("action dx", "action dz")


@given(position=three)
def test_the_workspace_holds(contract: Contract, position: np.ndarray):
    box = contract.workspace
    clamped = clamp_workspace(position, np.array([0.5, 0.0, 0.2]), box)
    assert np.all(clamped.value >= box.lower) and np.all(clamped.value <= box.upper)
    outside = (position < box.lower) | (position > box.upper)
    assert set(clamped.clamps) >= {
        f"workspace {a}" for a, o in zip("xyz", outside, strict=True) if o and clamped.clamps
    }
    assert bool(clamped.clamps) <= bool(outside.any())


def test_outside_the_workspace_one_may_stay_and_come_in_but_not_leave_further(contract: Contract):
    outside = np.array([0.1, 0.0, 0.2])
    assert clamp_workspace(outside, outside, contract.workspace).value.tolist() == outside.tolist()
    further = clamp_workspace(np.array([0.05, 0.0, 0.2]), outside, contract.workspace)
    assert (further.value[0], further.clamps) == (0.1, ("workspace x",))


@given(joints=six)
def test_joint_positions_keep_their_margin(contract: Contract, joints: np.ndarray):
    limits = contract.joints
    value = clamp_joint_positions(joints, np.array(limits.home), limits).value
    assert np.all(value >= np.array(limits.lower) + limits.margin)
    assert np.all(value <= np.array(limits.upper) - limits.margin)


def test_a_joint_at_its_limit_is_named(contract: Contract):
    joints = np.array(contract.joints.home)
    joints[2] = 3.14
    assert clamp_joint_positions(joints, np.array(contract.joints.home), contract.joints).clamps == (
        "position elbow_joint",
    )


@given(joints=six, previous=six)
def test_joint_velocity_holds_and_the_direction_stays(contract: Contract, joints: np.ndarray, previous: np.ndarray):
    step = clamp_joint_velocity(joints, previous, contract.joints, 0.1).value - previous
    assert np.all(np.abs(step) <= np.array(contract.joints.velocity) * 0.1 + 1e-9)
    wanted = joints - previous
    assert step @ wanted == pytest.approx(np.linalg.norm(step) * np.linalg.norm(wanted), abs=1e-6)


def test_only_the_joints_that_are_too_fast_are_named(contract: Contract):
    previous = np.zeros(6)
    clamped = clamp_joint_velocity(np.array([0.0, 0.1, 1.0, 0.0, 0.0, 0.0]), previous, contract.joints, 0.1)
    assert clamped.clamps == ("velocity elbow_joint",)
    assert clamped.value == pytest.approx([0.0, 0.025, 0.25, 0.0, 0.0, 0.0])


@given(target=three, origin=three)
def test_a_distance_holds(target: np.ndarray, origin: np.ndarray):
    clamped = clamp_distance(target, origin, 0.05, "lead")
    assert np.linalg.norm(clamped.value - origin) <= 0.05 + 2e-9
    assert (clamped.clamps == ("lead",)) == (np.linalg.norm(target - origin) > 0.05 + 1e-9)


@given(target=numbers, origin=numbers)
def test_an_angle_holds_the_short_way_round(target: float, origin: float):
    value, _ = clamp_angle(target, origin, 0.4, "lead yaw")
    assert abs(wrap_angle(value - origin)) <= 0.4 + 1e-8


def test_an_angle_is_led_across_pi():
    value, clamps = clamp_angle(-3.1, 3.1, 0.4, "lead yaw")
    assert (value, clamps) == (pytest.approx(-3.1), ())
