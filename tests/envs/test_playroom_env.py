"""The environment as Gymnasium and Stable-Baselines3 users meet it."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common.env_checker import check_env as sb3_check_env

from robot_learning.contract import Contract, ContractError
from robot_learning.control.limits import ActionError
from robot_learning.envs.playroom_env import PlayroomEnv
from robot_learning.envs.tasks import UnknownTaskError


@pytest.fixture(scope="module")
def env():
    env = PlayroomEnv(task="open_drawer")
    yield env
    env.close()


def rollout(env, seed, ticks=20):
    rng = np.random.default_rng(seed)
    observation, _ = env.reset(seed=seed)
    frames = [observation]
    for _ in range(ticks):
        frames.append(env.step(rng.uniform(-1, 1, 5).astype(np.float32))[0])
    return frames


@pytest.mark.filterwarnings("ignore:.*not within the observation space.*", "ignore:.*Box.*")
def test_gymnasium_checker_passes_with_cameras():
    env = gymnasium.make(
        "robot_learning/Playroom-v0", cameras=("front", "wrist"), image_size=48, render_mode="rgb_array"
    )
    check_env(env.unwrapped, skip_render_check=True)  # its check would open a window; test_rendering.py covers render
    env.close()


@pytest.mark.parametrize("name", ["robot_learning/Playroom-v0", "robot_learning/PlayroomResetFree-v0"])
def test_stable_baselines3_checker_passes(name):
    env = gymnasium.make(name, cameras=("front",), image_size=64)
    sb3_check_env(env)
    env.close()


def test_same_seed_and_actions_repeat_a_rollout_exactly(env):
    first, second = rollout(env, seed=7), rollout(env, seed=7)
    for a, b in zip(first, second, strict=True):
        assert all(np.array_equal(a[key], b[key]) for key in a)


def test_a_fresh_environment_repeats_the_rollout_of_a_used_one(env):
    rollout(env, seed=3)
    used = rollout(env, seed=8)
    fresh_env = PlayroomEnv(task="open_drawer")
    fresh = rollout(fresh_env, seed=8)
    assert all(np.array_equal(a[key], b[key]) for a, b in zip(used, fresh, strict=True) for key in a)


def test_another_seed_moves_the_furniture(env):
    env.reset(seed=0)
    first = env.room.pose("desk")[0]
    env.reset(seed=1)
    assert np.linalg.norm(env.room.pose("desk")[0] - first) > 1e-3


def test_without_variation_the_furniture_stands_still():
    env = PlayroomEnv(variation=0.0)
    poses = []
    for seed in range(3):
        env.reset(seed=seed)
        poses.append(np.append(*env.room.pose("desk")))
    assert np.ptp(poses, axis=0).max() == 0.0


def test_observations_belong_to_their_space_and_to_the_contract(env):
    observation, _ = env.reset(seed=0)
    assert env.observation_space.contains(observation)
    assert set(observation) == set(env.contract.observation)
    for key, stream in env.contract.observation.items():
        assert observation[key].shape == stream.shape and observation[key].dtype == stream.dtype
        assert not stream.names or len(stream.names) == stream.shape[0] == len(stream.units)


def test_environment_state_is_in_the_order_of_its_names(env):
    observation, _ = env.reset(seed=2)
    names = env.contract.observation["observation.environment_state"].names
    state = dict(zip(names, observation["observation.environment_state"], strict=True))
    assert state["drawer.pos"] == pytest.approx(env.room.joint("drawer"), abs=1e-6)
    offset = env.room.block - env.room.tcp
    assert [state[f"block.{axis}_from_tcp"] for axis in "xyz"] == pytest.approx(offset, abs=1e-6)
    assert state["desk.sin_yaw"] == pytest.approx(np.sin(env.room.pose("desk")[1]), abs=1e-6)


def test_proprioception_is_in_the_order_of_the_contract(env):
    observation, _ = env.reset(seed=2)
    names = env.contract.observation["observation.state"].names
    state = dict(zip(names, observation["observation.state"], strict=True))
    pose = env.room.controller.kinematics.forward(env.room.joints)
    assert [state["tcp.x"], state["tcp.y"], state["tcp.z"]] == pytest.approx(pose.position, abs=1e-5)
    assert np.arctan2(state["tcp.sin_yaw"], state["tcp.cos_yaw"]) == pytest.approx(pose.yaw, abs=1e-5)
    assert state["elbow_joint.pos"] == pytest.approx(env.room.joints[2], abs=1e-6)


@pytest.mark.parametrize(("index", "sign"), [(0, 1), (1, -1), (2, 1)])
def test_an_action_moves_the_tool_by_the_contract_s_scale(env, index, sign):
    env.reset(seed=5)
    env.room.set_arm(env.room.controller.kinematics.solve([0.42, 0.0, 0.25], 0.0, env.contract.joints.home))
    env.room.forward()
    start = env.room.tcp
    action = np.zeros(5, np.float32)
    action[index] = 0.5 * sign
    for _ in range(4):
        env.step(action)
    for _ in range(5):
        env.step(np.zeros(5, np.float32))
    moved = env.room.tcp - start
    expected = np.zeros(3)
    expected[index] = 4 * 0.5 * sign * env.contract.action.scale[index]
    assert moved == pytest.approx(expected, abs=0.003)


def test_nan_action_is_refused_and_nothing_moves(env):
    env.reset(seed=5)
    before = env.room.data.qpos.copy()
    with pytest.raises(ActionError, match="dyaw"):
        env.step(np.array([0, 0, 0, np.nan, 0], np.float32))
    assert np.array_equal(env.room.data.qpos, before)


def test_unknown_task_lists_the_valid_ones():
    with pytest.raises(UnknownTaskError, match=r"opn_drawer.*open_drawer"):
        PlayroomEnv(task="opn_drawer")


def test_unknown_camera_lists_the_valid_ones():
    with pytest.raises(ContractError, match=r"images\.side.*images\.front"):
        PlayroomEnv(cameras=("side",))


def test_time_limit_truncates():
    env = gymnasium.make("robot_learning/Playroom-v0", max_episode_steps=3)
    env.reset(seed=0)
    outcomes = [env.step(np.zeros(5, np.float32))[2:4] for _ in range(3)]
    assert outcomes == [(False, False), (False, False), (False, True)]


def test_reset_option_changes_the_task(env):
    _, info = env.reset(seed=0, options={"task": "push_red_button"})
    assert (info["task"], info["instruction"]) == ("push_red_button", "push the red button")
    env.set_task("open_drawer")


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_vector_environments_agree_with_single_ones(mode, env):
    venv = gymnasium.make_vec(
        "robot_learning/Playroom-v0", num_envs=2, vectorization_mode=mode, task="open_drawer", disable_env_checker=True
    )
    observations, _ = venv.reset(seed=[11, 12])
    single, _ = env.reset(seed=12)
    assert np.array_equal(observations["observation.state"][1], single["observation.state"])
    venv.close()


def test_a_diverged_physics_truncates_without_success(env):
    env.reset(seed=0)
    env.room.data.qvel[0] = 1e12  # the drawer: more than MuJoCo's largest value
    _, reward, terminated, truncated, info = env.step(np.zeros(5, np.float32))
    assert (reward, terminated, truncated, info["diverged"]) == (0.0, False, True, True)
    env.reset(seed=0)
    assert not env.room.diverged


def test_robot_without_simulation_part_is_refused():
    import dataclasses

    contract = dataclasses.replace(Contract.load("ur5e_2f85"), simulation=None)
    with pytest.raises(ValueError, match="simulation"):
        PlayroomEnv(contract=contract)
