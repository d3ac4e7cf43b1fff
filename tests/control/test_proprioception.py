"""The state vector from joint_states: by name, and equal to what the simulation observes."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from robot_learning.contract import STATE, Contract, ContractError
from robot_learning.control.kinematics import Kinematics
from robot_learning.control.proprioception import JointNamesError, Proprioception
from robot_learning.envs.observation import proprioception
from robot_learning.envs.playroom import Playroom


@pytest.fixture(scope="module")
def state_of() -> Proprioception:
    return Proprioception(Contract.load("ur5e_2f85"))


def joint_state(contract: Contract) -> tuple[list[str], list[float], list[float]]:
    """Names, positions and velocities in the contract's order, the gripper half closed."""
    names = [*contract.joints.names, contract.gripper.joint]
    positions = [*(np.array(contract.joints.home) + np.linspace(-0.2, 0.2, 6)), 0.4]
    return names, positions, [*np.linspace(-1.0, 1.0, 6), 0.0]


def test_equals_what_the_simulation_observes(state_of: Proprioception) -> None:
    contract = state_of.contract
    room = Playroom(contract)
    room.set_arm(np.array(contract.joints.home))
    for action in np.random.default_rng(0).uniform(-1, 1, (10, 5)):
        room.step(action)
    closing = room.gripper * (contract.gripper.closed - contract.gripper.open) + contract.gripper.open
    names = [*contract.joints.names, contract.gripper.joint]
    found = state_of(names, [*room.joints, closing], [*room.joint_velocities, 0.0])
    np.testing.assert_allclose(found, proprioception(room), atol=1e-5)


def test_order_of_the_message_does_not_matter(state_of: Proprioception) -> None:
    names, positions, velocities = joint_state(state_of.contract)
    order = np.random.default_rng(1).permutation(len(names))
    shuffled = [[values[i] for i in order] for values in (names, positions, velocities)]
    np.testing.assert_array_equal(state_of(*shuffled), state_of(names, positions, velocities))


def test_layout_is_the_contracts(state_of: Proprioception) -> None:
    contract = state_of.contract
    names, positions, velocities = joint_state(contract)
    found = dict(zip(contract.observation[STATE].names, state_of(names, positions, velocities), strict=True))
    assert found["elbow_joint.pos"] == np.float32(positions[2])
    assert found["wrist_3_joint.vel"] == np.float32(1.0)
    assert found["gripper.pos"] == np.float32(0.5)


def test_missing_velocities_are_zero(state_of: Proprioception) -> None:
    names, positions, _ = joint_state(state_of.contract)
    np.testing.assert_array_equal(state_of(names, positions)[6:12], np.zeros(6, np.float32))


def test_other_joints_are_ignored(state_of: Proprioception) -> None:
    names, positions, velocities = joint_state(state_of.contract)
    more = state_of(["wheel", *names], [9.0, *positions], [9.0, *velocities])
    np.testing.assert_array_equal(more, state_of(names, positions, velocities))


def test_unknown_joint_lists_both_sets(state_of: Proprioception) -> None:
    names, positions, velocities = joint_state(state_of.contract)
    names[0] = "pan"
    with pytest.raises(
        JointNamesError, match=r"expected.*shoulder_pan_joint.*found.*'pan'.*missing \['shoulder_pan_joint'\]"
    ):
        state_of(names, positions, velocities)


@pytest.mark.parametrize(("positions", "velocities"), [(6, 7), (7, 3)])
def test_arrays_that_do_not_fit_their_names(state_of: Proprioception, positions: int, velocities: int) -> None:
    names, values, _ = joint_state(state_of.contract)
    with pytest.raises(JointNamesError, match=f"found {positions} and {velocities}"):
        state_of(names, values[:positions], [0.0] * velocities)


def test_a_repeated_name_is_refused(state_of: Proprioception) -> None:
    names, positions, velocities = joint_state(state_of.contract)
    with pytest.raises(JointNamesError, match="once"):
        state_of([*names, names[0]], [*positions, 0.0], [*velocities, 0.0])


def test_unknown_state_name_lists_the_valid_ones(kinematics: Kinematics) -> None:
    contract = Contract.load("ur5e_2f85")
    stream = dataclasses.replace(contract.observation[STATE], names=("shoulder.pos",), units=("rad",), shape=(1,))
    with pytest.raises(ContractError, match=r"\['shoulder.pos'\]; valid names: \['shoulder_pan_joint.pos'"):
        Proprioception(contract.with_stream(STATE, stream), kinematics)


def test_a_state_without_tool_pose_needs_no_model() -> None:
    contract = dataclasses.replace(Contract.load("ur5e_2f85"), simulation=None)
    stream = dataclasses.replace(
        contract.observation[STATE], names=("elbow_joint.pos", "gripper.pos"), units=("rad", "1"), shape=(2,)
    )
    names, positions, _ = joint_state(contract)
    state = Proprioception(contract.with_stream(STATE, stream))(names, positions)
    np.testing.assert_array_equal(state, np.array([positions[2], 0.5], np.float32))
