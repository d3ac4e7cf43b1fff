import numpy as np
import pytest

from robot_learning.contract import STATE, Contract
from robot_learning.control.proprioception import TCP_NAMES
from robot_learning.control.tool_pose import TOOL, tool_pose


def test_the_pose_is_read_by_name() -> None:
    names = Contract.load("ur5e_2f85").observation[STATE].names
    state = np.zeros(len(names), np.float32)
    for name, value in zip(TOOL, (0.4, -0.1, 0.2, np.cos(2.0), np.sin(2.0)), strict=True):
        state[names.index(name)] = value
    position, yaw = tool_pose(names, state)
    assert position == pytest.approx([0.4, -0.1, 0.2]) and yaw == pytest.approx(2.0)


def test_its_elements_are_those_that_are_computed() -> None:
    assert tuple(TCP_NAMES) == TOOL
