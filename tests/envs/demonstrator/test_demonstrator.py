"""The scripted demonstrator and its play."""

from __future__ import annotations

import numpy as np
import pytest

from robot_learning.control.wrist import MOST
from robot_learning.envs.demonstrator import (
    SCRIPTS,
    WAYS,
    Demonstrator,
    DemonstratorConfig,
    PlayConfig,
    Player,
    possible,
)
from robot_learning.envs.playroom_env import PlayroomEnv
from robot_learning.envs.tasks import TASKS, UnknownTaskError


@pytest.fixture(scope="module")
def env():
    return PlayroomEnv()


def demonstrate(env, task, seed, way=None, config=None, ticks=150):
    """Actions and success of one episode."""
    env.reset(seed=seed, options={"task": task})
    demonstrator = Demonstrator(env.room, np.random.default_rng(seed), config)
    demonstrator.reset(task, way)
    actions, success = [], False
    while len(actions) < ticks and not success:
        actions.append(demonstrator.act())
        success = env.step(actions[-1])[2]
    return np.array(actions), success


def test_every_task_has_a_script():
    assert set(SCRIPTS) == set(TASKS)


@pytest.mark.parametrize("task", TASKS)
def test_every_way_of_a_task_succeeds(env, task):
    for way in range(WAYS.get(task, 2)):
        outcomes = [demonstrate(env, task, seed, way)[1] for seed in range(3)]
        assert sum(outcomes) >= 2, f"way {way}: {outcomes}"


def test_actions_are_in_range_and_typed(env):
    actions, _ = demonstrate(env, "put_into_shelf", 1)
    assert actions.dtype == np.float32 and np.abs(actions).max() <= 1.0


def test_the_same_seed_repeats_a_demonstration_exactly(env):
    assert np.array_equal(demonstrate(env, "open_drawer", 3)[0], demonstrate(env, "open_drawer", 3)[0])


def test_people_differ(env):
    env.reset(seed=0, options={"task": "open_drawer"})
    paths = []
    for person in range(4):
        env.reset(seed=0, options={"task": "open_drawer"})
        demonstrator = Demonstrator(env.room, np.random.default_rng(person))
        demonstrator.reset("open_drawer")
        for _ in range(15):
            env.step(demonstrator.act())
        paths.append(env.room.tcp)
    assert np.ptp(paths, axis=0).max() > 0.01


def test_noise_is_correlated_in_time(env):
    quiet, _ = demonstrate(env, "open_drawer", 2, way=0, config=DemonstratorConfig(noise=0.0, pause=0.0))
    noisy, _ = demonstrate(env, "open_drawer", 2, way=0, config=DemonstratorConfig(noise=0.3, pause=0.0))
    n = min(len(quiet), len(noisy), 12)
    noise = (noisy[:n, :3] - quiet[:n, :3])[2:]
    assert np.abs(noise).max() > 0.05
    assert np.mean(noise[1:] * noise[:-1]) > 0


def test_failures_on_purpose_mostly_fail(env):
    config = DemonstratorConfig(failure_rate=1.0)
    outcomes = [demonstrate(env, "grasp_flat", seed, config=config, ticks=60)[1] for seed in range(6)]
    assert sum(outcomes) <= 2


def test_unknown_task_is_refused(env):
    with pytest.raises(UnknownTaskError, match="fold_laundry"):
        Demonstrator(env.room, np.random.default_rng(0)).reset("fold_laundry")


def test_play_chains_tasks_without_a_reset(env):
    env.reset(seed=1, options={"task": "grasp_flat"})
    player = Player(env.room, np.random.default_rng(1))
    tried, done = [], set()
    for _ in range(900):
        action = player.act()
        if not tried or tried[-1] != player.task.name:
            tried.append(player.task.name)
        env.set_task(player.task.name)
        if env.step(action)[2]:
            done.add(player.task.name)
    assert len(set(tried)) >= 6 and len(done) >= 4
    assert not env.room.diverged


def test_play_gives_up_and_repeats(env):
    env.reset(seed=2, options={"task": "grasp_flat"})
    player = Player(env.room, np.random.default_rng(2))
    for _ in range(1200):
        env.step(player.act())
    assert 0 < player.abandoned < player.begun


@pytest.mark.parametrize("seed", [4, 6])
def test_play_does_not_wind_the_wrist_up(env, seed):
    env.reset(seed=seed, options={"task": "open_drawer"})
    player = Player(env.room, np.random.default_rng(seed), PlayConfig(tasks=("rotate_left", "rotate_right")))
    most = 0.0
    for _ in range(900):
        env.step(player.act())
        most = max(most, abs(env.room.joints[-1]))
    assert most < MOST, "with these seeds it came to the joint's limit before"


def test_play_with_some_tasks_tries_no_others(env):
    env.reset(seed=0, options={"task": "rotate_left"})
    player = Player(env.room, np.random.default_rng(0), PlayConfig(tasks=("rotate_left", "rotate_right")))
    tried = set()
    for _ in range(300):
        env.step(player.act())
        tried.add(player.task.name)
    assert tried == {"rotate_left", "rotate_right"}


def test_play_with_what_is_impossible_tries_what_makes_it_possible(env):
    env.reset(seed=0, options={"task": "open_drawer"})
    assert Player(env.room, np.random.default_rng(0), PlayConfig(tasks=("close_drawer",))).task.name != "close_drawer"


def test_play_with_an_unknown_task_is_refused():
    with pytest.raises(ValueError, match="fold_laundry"):
        PlayConfig(tasks=("fold_laundry",))


def test_play_only_tries_what_is_possible(env):
    env.reset(seed=0, options={"task": "open_drawer"})
    assert possible(env.room, "open_drawer") and not possible(env.room, "close_drawer")
    assert not possible(env.room, "pull_out_of_shelf") and not possible(env.room, "knock_object")


def test_play_lifts_a_standing_block_before_something_topples_it(env):
    env.reset(seed=0, options={"task": "knock_object"})
    first = [Player(env.room, np.random.default_rng(seed)).task.name for seed in range(20)]
    assert first.count("grasp_upright") >= 18


def test_what_makes_an_untried_task_possible_stays_interesting(env):
    env.reset(seed=0, options={"task": "grasp_flat"})
    player = Player(env.room, np.random.default_rng(0))
    done = dict.fromkeys(SCRIPTS, 3)
    player._done.update({**done, "sweep_object": 0, "grasp_lift": 0})
    assert player._interest("open_drawer") > 3 * player._interest("close_drawer")
    player._done.update({"sweep_object": 3, "grasp_lift": 3})
    assert player._interest("open_drawer") == pytest.approx(player._interest("close_drawer"), rel=0.5)
