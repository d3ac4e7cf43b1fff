"""Every shipped contract builds a robot that reaches its workspace."""

from __future__ import annotations

import math
from importlib.util import find_spec

import numpy as np
import pytest

from robot_learning import paths
from robot_learning.contract import Contract
from robot_learning.control.cartesian import CartesianController
from robot_learning.control.rotations import wrap_angle

SHIPPED = sorted(path.stem for path in paths.config("contracts").glob("*.yaml"))


@pytest.mark.parametrize("name", SHIPPED)
def test_the_controller_brings_the_tool_to_poses_of_the_workspace(name: str):
    contract = Contract.load(name)
    assert contract.simulation is not None
    if contract.simulation.arm.startswith("wheel:") and find_spec(contract.simulation.arm.split(":")[1]) is None:
        pytest.skip(f"{contract.simulation.arm} is not installed")
    controller = CartesianController(contract)
    rng = np.random.default_rng(0)
    command = controller.reset(contract.joints.home, 0.0)
    scale = np.array(contract.action.scale)
    lower, upper = np.array(contract.workspace.lower), np.array(contract.workspace.upper)
    for _ in range(10):
        target = rng.uniform(lower + 0.2 * (upper - lower), upper - 0.2 * (upper - lower))
        yaw = rng.uniform(-math.pi / 2, math.pi / 2)
        for _ in range(80):
            turn = wrap_angle(yaw - command.target_yaw)
            action = np.array([*(target - command.target_position), turn, 0.0]) / scale
            command = controller.step(np.clip(action, -1.0, 1.0), command.joints, 0.0)
        pose = controller.kinematics.forward(command.joints)
        assert np.linalg.norm(pose.position - target) < 1e-3
        assert abs(wrap_angle(pose.yaw - yaw)) < 5e-3
