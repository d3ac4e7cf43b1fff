"""A reward model as the judge of practice."""

from collections.abc import Mapping

import gymnasium
import numpy as np
import pytest

import robot_learning.envs  # noqa: F401  registers the playroom
from robot_learning.envs.tasks import TASKS
from robot_learning.training.judged import Judged
from robot_learning.training.run_state import RunError

OPEN, CLOSE = "open_drawer", "close_drawer"


class Scripted:
    """A reward model that gives the answers it was told to, one row a picture."""

    questions = (TASKS[CLOSE].question, TASKS[OPEN].question)
    threshold = no_threshold = 0.5

    def __init__(self, answers: list[tuple[float, float]], cameras: tuple[str, ...] = ("front",)) -> None:
        self.answers, self.cameras, self.shown = answers, cameras, 0

    def probabilities(self, images: Mapping[str, np.ndarray]) -> np.ndarray:
        assert images["front"].shape == (48, 48, 3)
        self.shown += 1
        return np.array(self.answers[self.shown - 1], np.float32)


@pytest.fixture
def env():
    env = gymnasium.make("robot_learning/Playroom-v0", task=OPEN, cameras=("front",), image_size=48)
    yield env
    env.close()


def steps(env: Judged, count: int) -> list[tuple[float, bool, dict]]:
    return [(r, t, i) for _, r, t, _, i in (env.step(np.zeros(5, np.float32)) for _ in range(count))]


def test_success_takes_so_many_frames_of_yes_in_a_row(env) -> None:
    judged = Judged(env, Scripted([(0, 0.1), (0, 0.1), (0, 0.9), (0, 0.1), (0, 0.9), (0, 0.9)]), [OPEN], consecutive=2)
    judged.reset(seed=0)
    told = steps(judged, 6)
    assert [info["is_success"] for _, _, info in told] == [False] * 5 + [True]
    assert told[-1][:2] == (1.0, True)


def test_what_seems_done_from_the_first_picture_on_is_no_success_until_it_was_undone(env) -> None:
    judged = Judged(
        env, Scripted([(0, p) for p in (0.9, 0.9, 0.9, 0.1, 0.9, 0.1, 0.1, 0.9, 0.9)]), [OPEN], consecutive=2
    )
    judged.reset(seed=0)
    assert [info["is_success"] for _, _, info in steps(judged, 9)] == [False] * 8 + [True]


def test_the_simulators_verdict_is_told_apart(env) -> None:
    judged = Judged(env, Scripted([(0, 0.1), (0, 0.9)]), [OPEN], consecutive=1)
    judged.reset(seed=0)
    *_, (_, _, info) = steps(judged, 2)
    assert info["is_success"] and not info["true_success"]


def test_the_simulators_success_does_not_count_by_itself(env) -> None:
    judged = Judged(env, Scripted([(0, 0)]), [OPEN], consecutive=1)
    judged.reset(seed=0)
    env.unwrapped.room.set_joint("drawer", 0.149)
    ((reward, terminated, info),) = steps(judged, 1)
    assert info["true_success"] and not info["is_success"] and not terminated and reward == 0


def test_the_question_of_the_current_task_is_asked(env) -> None:
    judged = Judged(env, Scripted([(0.1, 0), (0.9, 0), (0.9, 0)]), [OPEN, CLOSE], consecutive=1)
    judged.reset(seed=0, options={"task": CLOSE})
    assert steps(judged, 2)[1][2]["is_success"]
    assert judged.done(env.unwrapped.observe()) == {OPEN: False, CLOSE: True}


@pytest.mark.parametrize(
    ("told", "done"),
    [((0.1, 0.3), OPEN), ((0.3, 0.1), CLOSE), ((0.1, 0.2), None), ((0.6, 0.3), CLOSE)],
    ids=["not sure", "nor of the other", "hardly", "the other is sure"],
)
def test_what_may_be_done_counts_where_it_is_asked_for(env, told: tuple[float, float], done: str | None) -> None:
    judged = Judged(env, Scripted([told]), [OPEN, CLOSE], consecutive=1)
    env.reset(seed=0)
    seen = judged.done(env.unwrapped.observe(), perhaps=True)
    assert [name for name, yes in seen.items() if yes] == ([done] if done else [])


def test_a_question_it_does_not_know_is_refused(env) -> None:
    with pytest.raises(RunError, match="is the red lamp lit"):
        Judged(env, Scripted([]), ["push_red_button"])


def test_a_camera_that_is_not_observed_is_named(env) -> None:
    with pytest.raises(RunError, match="wrist"):
        Judged(env, Scripted([], cameras=("front", "wrist")), [OPEN])


def test_a_task_and_the_one_that_undoes_it_are_not_both_done(env) -> None:
    judged = Judged(env, Scripted([(0.9, 0.9)]), [OPEN, CLOSE], consecutive=1)
    env.reset(seed=0)
    assert judged.done(env.unwrapped.observe()) == {OPEN: False, CLOSE: False}
