"""The robot as a Gymnasium environment, through the real safety gate to a simulated robot in lockstep."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from sensor_msgs.msg import JointState
from stable_baselines3 import PPO
from stable_baselines3.common.env_checker import check_env as sb3_check_env
from std_srvs.srv import Trigger

import robot_learning.nodes.ros_env  # noqa: F401  registers the environment
from robot_learning.control.limits import ActionError

ZERO = np.zeros(5, np.float32)
SIMULATED = {"use_sim_time": True, "reset_service": "sim_robot/reset", "timeout": 60.0}
STATE_ONLY = {"streams": ("observation.state",)}


@pytest.fixture(scope="module")
def robot(shared_graph):
    """A simulated robot and its safety gate."""
    node = shared_graph.node("person")
    shared_graph.start("sim_robot", use_sim_time=True, real_time_factor=0.0, lockstep=True, lockstep_timeout=1.0)
    shared_graph.start("safety_gate", use_sim_time=True)
    seen = []
    node.create_subscription(JointState, "safety_gate/action_sent", seen.append, 5)
    shared_graph.until(lambda: seen, "the safety gate", timeout=120.0)
    return shared_graph


@pytest.fixture
def env(robot):
    env = gymnasium.make("robot_learning/Robot-v0", task="open the drawer", **STATE_ONLY, **SIMULATED).unwrapped
    yield env
    env.close()


def test_the_gymnasium_checker_passes(robot):
    env = gymnasium.make("robot_learning/Robot-v0", task="open the drawer", environment_state=True, **SIMULATED)
    assert set(env.observation_space) == set(env.unwrapped.contract.observation)
    check_env(env.unwrapped, skip_render_check=True)
    env.close()


def test_the_stable_baselines3_checker_passes(env):
    sb3_check_env(env)


def test_each_step_ends_at_the_next_control_tick_with_sensors_of_that_instant(env):
    env.reset()
    ticks = []
    for _ in range(5):
        *_, info = env.step(ZERO)
        ticks.append(env.unwrapped._frame.at)
        assert set(info["ages"].values()) == {0.0} and info["source"] == "env"
    assert set(np.diff(ticks)) == {100_000_000}


def test_an_action_moves_the_robot_and_info_says_what_was_carried_out(env):
    first, _ = env.reset()
    action = np.array([0.0, 0.0, 0.5, 0.0, 0.0], np.float32)
    for _ in range(4):
        last, _, _, _, info = env.step(action)
    rise = last["observation.state"][15] - first["observation.state"][15]
    assert 0.02 < rise < 0.07
    assert info["source"] == "env" and info["action_sent"] == pytest.approx(action, abs=1e-6)
    assert info["gate"] == "acting: env"


def test_success_is_the_reward_and_ends_the_episode(env):
    env.reset(options={"task": "open the drawer"})
    assert env.step(ZERO)[1:3] == (0.0, False)
    env.reset(options={"task": "take the block out of the shelf"})
    env._link.publish_task("put the block into the shelf")  # where it is already
    for _ in range(10):
        _, reward, terminated, truncated, info = env.step(ZERO)
        if terminated:
            break
    assert (reward, terminated, truncated, info["is_success"]) == (1.0, True, False, True)


def test_a_person_overrides_the_environment_and_info_says_so(robot, env):
    env.reset()
    hand = robot.nodes[0].create_publisher(JointState, "teleop/action", 1)
    robot.until(lambda: hand.get_subscription_count() == 1)
    sources = []
    for _ in range(20):
        message = JointState(name=list(env.contract.action.names), position=[0.0, 0.0, 0.3, 0.0, 0.0])
        hand.publish(message)
        *_, info = env.step(ZERO)
        sources.append(info.get("source"))
        if sources[-1] == "teleop":
            break
    assert sources[-1] == "teleop" and info["action_sent"][2] == pytest.approx(0.3)
    robot.nodes[0].destroy_publisher(hand)


def test_a_person_who_lets_go_hands_back_without_a_hold(robot, env):
    env.reset()
    env.step(ZERO)
    hand = robot.nodes[0].create_publisher(JointState, "teleop/action", 1)
    robot.until(lambda: hand.get_subscription_count() == 1)
    infos: list[dict[str, object]] = []
    while (
        "teleop" not in [info.get("source") for info in infos] and len(infos) < 20
    ):  # the gate may not know the hand yet
        hand.publish(JointState(name=list(env.contract.action.names), position=[0.0] * 5))
        infos.append(env.step(ZERO)[4])
    infos += [env.step(ZERO)[4] for _ in range(10)]
    assert "teleop" in [info.get("source") for info in infos] and infos[-1]["source"] == "env"
    assert {info["held"] for info in infos} == {""}
    robot.nodes[0].destroy_publisher(hand)


def test_an_emergency_stop_is_told_and_found_to_be_over(robot, env):
    env.reset()
    assert robot.call(Trigger, "safety_gate/estop").success
    held = [env.step(ZERO)[4]["held"] for _ in range(2)]
    assert "safety_gate/estop" in held[-1]
    assert env.probe() == held[-1]
    assert robot.call(Trigger, "safety_gate/reset_estop").success
    assert env.probe() == "" and env.step(ZERO)[4]["source"] == "env"


def test_nan_is_refused_before_it_is_sent(env):
    env.reset()
    with pytest.raises(ActionError, match="dz"):
        env.step(np.array([0, 0, np.nan, 0, 0], np.float32))


def test_step_before_reset_is_refused(env):
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step(ZERO)


def test_stable_baselines3_learns_on_it(robot):
    env = gymnasium.make("robot_learning/Robot-v0", max_episode_steps=16, **STATE_ONLY, **SIMULATED)
    env = gymnasium.wrappers.FlattenObservation(env)
    model = PPO("MlpPolicy", env, n_steps=16, batch_size=8, n_epochs=1, device="cpu")
    model.learn(32)
    assert model.num_timesteps == 32
    env.close()
