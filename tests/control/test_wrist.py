"""How far the last joint is wound up, on the arm of the contract."""

from types import SimpleNamespace

import numpy as np
import pytest

from robot_learning.contract import STATE, Contract
from robot_learning.control.kinematics import Kinematics
from robot_learning.control.rotations import wrap_angle
from robot_learning.control.wrist import Wrist, unwinding


@pytest.mark.parametrize(
    ("turn", "turned", "expected"),
    [
        (1.0, 0.0, 1.0),
        (-3.0, 2.0, -3.0),
        (0.5, 2 * np.pi, 0.5 - 2 * np.pi),
        (0.5, -2 * np.pi, 0.5 + 2 * np.pi),
        (1.0, 3.0, 1.0 - 2 * np.pi),
    ],
    ids=["near home", "back", "a turn too many", "a turn too few", "would wind up"],
)
def test_the_way_that_winds_nothing_up(turn: float, turned: float, expected: float) -> None:
    assert unwinding(turn, turned) == pytest.approx(expected)


def test_half_a_turn_from_home_either_way_is_as_good() -> None:
    assert [unwinding(turn, 0.0) for turn in (np.pi, np.pi + 1e-6, -np.pi)] == [np.pi, np.pi + 1e-6, -np.pi]


def test_a_turn_of_the_tool_is_a_turn_of_the_wrist(contract: Contract, kinematics: Kinematics) -> None:
    joints = kinematics.solve((0.45, 0.0, 0.25), 0.5, contract.joints.home)
    further = kinematics.solve((0.45, 0.0, 0.25), 1.3, joints)
    wrist = Wrist(contract, kinematics)
    assert wrist.turned(further[-1]) - wrist.turned(joints[-1]) == pytest.approx(0.8, abs=0.01)


@pytest.mark.parametrize("turns", [-1, 1])
def test_whole_turns_count(contract: Contract, kinematics: Kinematics, turns: int) -> None:
    wrist, home = Wrist(contract, kinematics), contract.joints.home[-1]
    assert abs(wrist.turned(home + 2 * np.pi * turns)) == pytest.approx(2 * np.pi)


def test_the_sense_is_that_of_the_arm(own_arm: Contract) -> None:
    kinematics, joints = Kinematics(own_arm), np.array(own_arm.joints.home)
    further = joints + np.eye(len(joints))[-1] * 0.4
    moved = wrap_angle(kinematics.forward(further).yaw - kinematics.forward(joints).yaw)
    assert Wrist(own_arm, kinematics).turned(further[-1]) == pytest.approx(moved, abs=0.01)


def test_a_last_joint_that_does_not_turn_the_tool_winds_nothing_up(contract: Contract) -> None:
    tilts = SimpleNamespace(forward=lambda joints: SimpleNamespace(yaw=0.0))
    assert Wrist(contract, tilts).turned(6.0) == 0.0  # type: ignore[arg-type]


def test_a_state_tells_it_by_the_name_of_the_joint(contract: Contract, kinematics: Kinematics) -> None:
    names = contract.observation[STATE].names
    state = np.zeros(len(names), np.float32)
    state[names.index("wrist_3_joint.pos")] = 2.0
    wrist = Wrist(contract, kinematics)
    assert wrist.turned_in(names, state) == pytest.approx(wrist.turned(2.0))


def test_a_state_without_the_joint_tells_nothing(contract: Contract, kinematics: Kinematics) -> None:
    assert Wrist(contract, kinematics).turned_in(("tcp.x",), np.ones(1)) == 0.0
