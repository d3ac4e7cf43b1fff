"""The simulated robot under joint commands."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from robot_learning.contract import Contract
from robot_learning.control.homing import Homes
from robot_learning.control.limits import ActionError
from robot_learning.envs.playroom_env import PlayroomEnv
from robot_learning.envs.tasks import UnknownTaskError
from robot_learning.nodes.simulation.simulator import Simulator


@pytest.fixture(scope="module")
def contract():
    return Contract.load("ur5e_2f85")


@pytest.fixture(scope="module")
def simulator(contract):
    simulator = Simulator(contract, "open_drawer", seed=3)
    yield simulator
    simulator.close()


@pytest.fixture(autouse=True)
def anew(simulator):
    simulator.set_task("open_drawer")
    simulator.reset()


def test_with_furniture_resets_move_none_of_it(contract):
    simulator = Simulator(contract, "open_drawer", seed=3, furniture=5)
    simulator.reset()
    desk = simulator.room.pose("desk")
    simulator.reset()
    simulator.close()
    np.testing.assert_array_equal(simulator.room.pose("desk")[0], desk[0])


def command(simulator, joints, closing):
    opened, closed = simulator.contract.gripper.open, simulator.contract.gripper.closed
    simulator.command_arm(joints)
    simulator.command_gripper(opened + closing * (closed - opened))


def test_joint_commands_repeat_a_rollout_of_the_environment(contract, simulator):
    env = PlayroomEnv(task="open_drawer")
    simulator.next_seed = 7
    simulator.reset()
    seen = env.reset(seed=7)[0]
    rng = np.random.default_rng(0)
    room = simulator.room
    for _ in range(20):
        assert np.concatenate([room.joints, room.joint_velocities]) == pytest.approx(
            seen["observation.state"][:12], abs=1e-6
        )
        action = rng.uniform(-1, 1, 5)
        wanted = room.controller.step(action, room.joints, room.gripper)
        command(simulator, wanted.joints, wanted.gripper)
        simulator.advance_to(simulator.step + room.tick_steps)
        seen = env.step(action)[0]


def test_a_command_takes_effect_between_ticks_too(simulator):
    simulator.advance_to(simulator.step + 7)
    goal = simulator.room.joints + 0.05
    command(simulator, goal, 0.0)
    simulator.advance_to(simulator.step + 100)
    assert simulator.room.joints == pytest.approx(goal, abs=5e-3)


def test_the_gripper_command_is_a_joint_position(simulator):
    command(simulator, simulator.room.joints, 1.0)
    simulator.advance_to(simulator.step + 250)
    assert simulator.room.gripper > 0.9


def test_time_never_goes_back_and_a_reset_ends_on_a_tick(simulator):
    simulator.advance_to(simulator.step + 7)
    before = simulator.time
    simulator.reset()
    assert 300_000_000 < simulator.time - before <= 400_000_000 and simulator.time % 100_000_000 == 0


def test_every_reset_uses_the_next_seed_and_says_so(simulator):
    seed = simulator.seed
    assert simulator.reset() == f"open_drawer, seed {seed + 1}"


def test_commands_from_before_a_reset_are_forgotten(simulator):
    command(simulator, simulator.room.joints + 0.5, 0.0)
    simulator.reset()
    assert not simulator.await_command(0.0, lambda: False)


def test_awaiting_ends_when_arm_and_gripper_were_commanded(simulator):
    sender = threading.Thread(target=command, args=(simulator, simulator.room.joints, 0.0))
    sender.start()
    assert simulator.await_command(10.0, lambda: False)
    sender.join()


def test_an_arm_command_alone_is_not_a_command(simulator):
    simulator.command_arm(simulator.room.joints)
    assert not simulator.await_command(0.0, lambda: False)


@pytest.mark.parametrize(("joints", "text"), [([0.0] * 5, r"shape \(5,\)"), ([np.nan] * 6, "shoulder_pan_joint = nan")])
def test_a_bad_command_is_refused_by_name(simulator, joints, text):
    with pytest.raises(ActionError, match=text):
        simulator.command_arm(joints)


def test_homing_drives_the_arm_home_and_ignores_commands(simulator):
    simulator.start_homing()
    command(simulator, simulator.room.joints + 0.5, 1.0)
    for _ in range(80):
        simulator.advance_to(simulator.step + simulator.room.tick_steps)
        if not simulator.is_homing:
            break
    assert not simulator.is_homing
    assert np.abs(simulator.room.tcp - Homes().places[0][:3]).max() < 0.12 and simulator.room.gripper < 0.05


def test_tasks_are_asked_for_by_instruction_or_name(simulator):
    simulator.set_task("close the drawer")
    assert simulator.env.task.name == "close_drawer" and simulator.success is True
    simulator.set_task("open_drawer")
    assert simulator.success is False


def test_an_unknown_task_has_no_success(simulator):
    with pytest.raises(UnknownTaskError, match=r"fold the towel.*open the drawer"):
        simulator.set_task("fold the towel")
    assert simulator.success is None
