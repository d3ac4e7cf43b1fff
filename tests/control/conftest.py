"""The two robots of the control tests: the shipped one, and a stranger's arm of primitives."""

from __future__ import annotations

from pathlib import Path

import pytest

from robot_learning.contract import Contract
from robot_learning.control.kinematics import Kinematics

from .own_arm import own_contract


@pytest.fixture(scope="session")
def contract() -> Contract:
    return Contract.load("ur5e_2f85")


@pytest.fixture(scope="session")
def kinematics(contract: Contract) -> Kinematics:
    return Kinematics(contract)


@pytest.fixture
def own_arm(tmp_path: Path) -> Contract:
    return Contract.from_dict(own_contract(tmp_path))
