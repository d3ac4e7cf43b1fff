"""Gripper units."""

from __future__ import annotations

import dataclasses

import pytest

from robot_learning.contract import Contract
from robot_learning.control.gripper import gripper_command, gripper_opening
from robot_learning.control.robot_model import RobotModelError


@pytest.mark.parametrize(("closing", "command"), [(0.0, 0.0), (0.5, 127.5), (1.0, 255.0), (7.0, 255.0), (-1.0, 0.0)])
def test_command(contract: Contract, closing: float, command: float):
    assert gripper_command(contract, closing) == command


@pytest.mark.parametrize(("position", "closing"), [(0.0, 0.0), (0.4, 0.5), (0.8, 1.0), (0.9, 1.0), (-0.1, 0.0)])
def test_opening(contract: Contract, position: float, closing: float):
    assert gripper_opening(contract, position) == pytest.approx(closing)


def test_a_gripper_whose_joint_opens_upwards(contract: Contract):
    gripper = dataclasses.replace(contract.gripper, open=0.04, closed=0.0)
    assert gripper_opening(dataclasses.replace(contract, gripper=gripper), 0.03) == pytest.approx(0.25)


def test_a_command_needs_the_simulation_section(contract: Contract):
    with pytest.raises(RobotModelError, match="simulation"):
        gripper_command(dataclasses.replace(contract, simulation=None), 0.5)
