"""Practice without resets in the playroom."""

from pathlib import Path
from types import SimpleNamespace

import gymnasium
import numpy as np
import pytest

import robot_learning.envs  # noqa: F401  registers the playroom
from robot_learning.control.retries import RetryPlan
from robot_learning.training.practice_schedule import PERSON, Attempt, ScheduleConfig
from robot_learning.training.reset_free import SCENE, ResetFree

TASKS = ["open_drawer", "close_drawer"]


@pytest.fixture
def env():
    env = make()
    yield env
    env.close()


def make(**config: int) -> ResetFree:
    return ResetFree(gymnasium.make("robot_learning/PlayroomResetFree-v0"), TASKS, ScheduleConfig(**config))


def put_drawer(env: ResetFree, opening: float) -> None:
    env.room.room.set_joint("drawer", opening)
    env.room.room.forward()


def test_objects_stay_and_the_task_follows_from_what_is_seen(env: ResetFree) -> None:
    env.reset(seed=0)
    env.ended("open_drawer", False)
    put_drawer(env, 0.149)
    _, info = env.reset(seed=1)
    assert info["task"] == "close_drawer" and info["instruction"] == "close the drawer"
    assert env.room.room.joint("drawer") > 0.13


def test_after_many_failures_a_person_resets_everything() -> None:
    env = make(ask_after=2)
    env.reset(seed=0)
    desk = env.room.room.pose("desk")[0]
    for number in range(2):
        env.ended("open_drawer", False)
        _, info = env.reset(seed=number + 1)
    assert info["before"] == PERSON and not np.allclose(env.room.room.pose("desk")[0], desk)
    env.ended("open_drawer", True)
    assert env.interventions == 1
    env.close()


def test_a_look_from_home_decides(env: ResetFree) -> None:
    env.reset(seed=0)
    env.step(np.ones(5, np.float32))
    away = env.room.room.tcp.copy()
    put_drawer(env, 0.149)
    assert env.look() == (True, True)
    assert np.linalg.norm(env.room.room.tcp - away) > 0.02


def test_what_was_done_before_the_episode_was_not_done_by_it() -> None:
    made = gymnasium.make("robot_learning/PlayroomResetFree-v0")
    env = ResetFree(made, ["open_drawer"], ScheduleConfig())
    env.reset(seed=0)
    put_drawer(env, 0.149)
    env.reset(seed=1)
    assert env.look() == (False, False)
    env.close()


class _Told:
    """A judge that says what it is told to."""

    def __init__(self, *told: float) -> None:
        self._told = list(told)

    def done(self, _: dict[str, np.ndarray], perhaps: bool = False) -> dict[str, bool]:
        return {"open_drawer": self._told.pop(0) >= (0.25 if perhaps else 0.5)}


@pytest.mark.parametrize(("before", "counts"), [(0.1, True), (0.3, False)])
def test_what_may_have_been_done_before_the_episode_was_not_done_by_it(before: float, counts: bool) -> None:
    made = gymnasium.make("robot_learning/PlayroomResetFree-v0")
    env = ResetFree(made, ["open_drawer"], ScheduleConfig(), judge=_Told(before, 0.9))  # type: ignore[arg-type]
    env.reset(seed=0)
    assert env.look()[0] is counts
    env.close()


def test_an_attempt_ends_when_it_takes_much_longer_than_it_was_shown(env: ResetFree) -> None:
    plan = RetryPlan({"open the drawer": 4, "close the drawer": 9}, ((0.4, 0.0, 0.25, 0.0),))
    env.begin_as(SimpleNamespace(retry_plan=lambda: plan))  # type: ignore[arg-type]
    env.reset(seed=0)
    assert [env.step(np.zeros(5, np.float32))[3] for _ in range(4)] == [False, False, False, True]
    env.reset(seed=1)
    assert not env.step(np.zeros(5, np.float32))[3], "the next has its whole time"


def test_stuck_it_opens_what_was_pushed_shut() -> None:
    made = gymnasium.make("robot_learning/PlayroomResetFree-v0")
    env = ResetFree(made, ["sweep_object", "grasp_lift"], ScheduleConfig(stir_after=1, recover=("open_drawer",)))
    env.reset(seed=0)
    env.ended("sweep_object", False)
    put_drawer(env, 0.0)
    _, info = env.reset(seed=1)
    assert info["task"] == "open_drawer" and info["instruction"] == "open the drawer"
    env.close()


def test_at_one_desk_help_moves_no_furniture() -> None:
    env = ResetFree(
        gymnasium.make("robot_learning/PlayroomResetFree-v0", furniture=4), TASKS, ScheduleConfig(ask_after=1)
    )
    env.reset(seed=0)
    desk = env.room.room.pose("desk")[0]
    env.ended("open_drawer", False)
    _, info = env.reset(seed=1)
    assert info["before"] == PERSON and np.allclose(env.room.room.pose("desk")[0], desk)
    env.close()


def test_stirring_moves_the_arm_and_no_furniture(env: ResetFree) -> None:
    env.reset(seed=0)
    tcp, desk = env.room.room.tcp, env.room.room.pose("desk")[0]
    env.stir(np.random.default_rng(0))
    assert np.linalg.norm(env.room.room.tcp - tcp) > 0.02
    assert np.array_equal(env.room.room.pose("desk")[0], desk)


def go_on(env: ResetFree) -> np.ndarray:
    env.reset(seed=7)
    for _ in range(5):
        observation = env.step(np.full(5, 0.4, np.float32))[0]
    return observation["observation.environment_state"]


def test_a_kept_scene_goes_on_exactly(env: ResetFree, tmp_path: Path) -> None:
    env.reset(seed=0)
    for _ in range(20):
        env.step(np.array([0.3, 0.2, -1, 0.1, 1], np.float32))
    env.ended("open_drawer", False)
    env.save(tmp_path, 1)
    there = make()
    assert there.recall(tmp_path, [Attempt("open_drawer", False)])
    assert np.array_equal(go_on(there), go_on(env))
    there.close()


@pytest.mark.parametrize("damage", ["missing", "older", "garbage", "cut short", "of nothing"])
def test_without_its_scene_help_is_counted(env: ResetFree, tmp_path: Path, damage: str) -> None:
    env.reset(seed=0)
    env.save(tmp_path, 1)
    if damage == "garbage":
        (tmp_path / SCENE).write_bytes(b"\x93NUMPY nonsense")
    if damage == "cut short":
        (tmp_path / SCENE).write_bytes(b"")
    if damage == "of nothing":
        np.save(tmp_path / SCENE, np.empty(0))
    if damage == "missing":
        (tmp_path / SCENE).unlink()
    past = [Attempt("open_drawer", True)] * (2 if damage == "older" else 1)
    there = make()
    assert not there.recall(tmp_path, past)
    assert there.reset(seed=1)[1]["before"] == PERSON
    there.close()
