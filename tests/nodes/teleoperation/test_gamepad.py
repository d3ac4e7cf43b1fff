"""A gamepad as motion: deadman, deadzone, silence, buttons; at times set by the tests."""

from __future__ import annotations

import dataclasses
import math

import pytest

from robot_learning.nodes.teleoperation.gamepad import Gamepad, Mapping

MAPPING = Mapping(
    axes=(1, 0, 4, 3),
    signs=(1.0, 1.0, -1.0, 1.0),
    deadman=4,
    close=0,
    open=1,
    buttons={7: "recorder/start", 8: "safety_gate/estop"},
    deadzone=0.1,
)


def buttons(*down: int) -> list[int]:
    return [int(i in down) for i in range(11)]


@pytest.fixture
def gamepad() -> Gamepad:
    return Gamepad(MAPPING, speed=0.5)


def test_without_the_deadman_button_nothing_moves(gamepad: Gamepad):
    gamepad.update([1.0] * 6, buttons(0), 100.0)
    assert gamepad.action(100.0) is None


def test_axes_map_to_the_action(gamepad: Gamepad):
    gamepad.update([0.0, 1.0, 0.0, -1.0, 1.0, 0.0], buttons(4, 0), 100.0)
    action = gamepad.action(100.0)
    assert action is not None
    assert action.tolist() == pytest.approx([0.5, 0.0, -0.5, -0.5, 1.0])


def test_releasing_the_deadman_button_stops(gamepad: Gamepad):
    gamepad.update([1.0] * 6, buttons(4), 100.0)
    gamepad.update([1.0] * 6, buttons(), 100.02)
    assert gamepad.action(100.02) is None


def test_a_gamepad_that_falls_silent_stops(gamepad: Gamepad):
    gamepad.update([1.0] * 6, buttons(4), 100.0)
    assert gamepad.action(100.3) is not None
    assert gamepad.action(100.31) is None


def test_the_deadzone_ends_without_a_step(gamepad: Gamepad):
    for deflection, expected in ((0.1, 0.0), (0.11, 0.5 * 0.01 / 0.9), (-1.0, -0.5), (math.nan, 0.0)):
        gamepad.update([0.0, deflection, 0.0, 0.0, 0.0, 0.0], buttons(4), 100.0)
        action = gamepad.action(100.0)
        assert action is not None and action[0] == pytest.approx(expected)


def test_a_button_calls_its_service_once_per_press(gamepad: Gamepad):
    assert gamepad.update([0.0] * 6, buttons(7), 100.0) == ["recorder/start"]
    assert gamepad.update([0.0] * 6, buttons(7), 100.1) == []
    assert gamepad.update([0.0] * 6, buttons(), 100.2) == []
    assert gamepad.update([0.0] * 6, buttons(7, 8), 100.3) == ["recorder/start", "safety_gate/estop"]


def test_a_gamepad_with_too_few_axes_is_a_problem_and_moves_nothing():
    gamepad = Gamepad(dataclasses.replace(MAPPING, axes=(1, 0, 9, 3)))
    gamepad.update([0.0] * 6, buttons(4), 100.0)
    assert gamepad.action(100.0) is None
    assert "6 axes" in gamepad.problem and "axis 9" in gamepad.problem


def test_the_estop_of_a_gamepad_with_too_few_axes_works():
    gamepad = Gamepad(dataclasses.replace(MAPPING, axes=(1, 0, 9, 3)))
    assert gamepad.update([0.0] * 6, buttons(8), 100.0) == ["safety_gate/estop"]
    assert gamepad.update([0.0] * 6, buttons(8), 100.1) == []


def test_the_estop_of_a_gamepad_without_the_deadman_button_works():
    gamepad = Gamepad(dataclasses.replace(MAPPING, deadman=11))
    assert gamepad.update([0.0] * 6, buttons(8), 100.0) == ["safety_gate/estop"]
    assert "deadman button 11" in gamepad.problem


def test_an_axis_of_minus_one_is_none():
    gamepad = Gamepad(dataclasses.replace(MAPPING, axes=(1, -1, -1, 3)))
    gamepad.update([1.0] * 6, buttons(4), 100.0)
    action = gamepad.action(100.0)
    assert action is not None and action.tolist() == [1.0, 0.0, 0.0, 1.0, 0.0]
    assert gamepad.problem == ""


@pytest.mark.parametrize(
    ("deflection", "expected"), [(math.inf, 0.0), (-math.inf, 0.0), (math.nan, 0.0), (7.0, 0.5), (-7.0, -0.5)]
)
def test_no_deflection_is_faster_than_the_speed(gamepad: Gamepad, deflection: float, expected: float):
    gamepad.update([0.0, deflection, 0.0, 0.0, 0.0, 0.0], buttons(4), 100.0)
    action = gamepad.action(100.0)
    assert action is not None and action.tolist() == [expected, 0.0, 0.0, 0.0, 0.0]


def test_a_sign_makes_no_deflection_faster_than_the_speed():
    gamepad = Gamepad(dataclasses.replace(MAPPING, signs=(3.0, 1.0, 1.0, 1.0)), speed=0.5)
    gamepad.update([0.0, 1.0, 0.0, 0.0, 0.0, 0.0], buttons(4), 100.0)
    action = gamepad.action(100.0)
    assert action is not None and action[0] == 0.5
