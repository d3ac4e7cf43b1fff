"""The robot as an environment when somebody else judges: a new episode is announced, and silence is noticed."""

from __future__ import annotations

import threading
from collections.abc import Callable

import gymnasium
import numpy as np
import pytest
from std_msgs.msg import Bool
from std_srvs.srv import Trigger

import robot_learning.nodes.ros_env  # noqa: F401  registers the environment
from robot_learning.nodes.base import reliable
from robot_learning.nodes.ros_env import GraphIncompleteError
from robot_learning.nodes.service_calls import ServiceError

ZERO = np.zeros(5, np.float32)


@pytest.fixture(scope="module")
def robot(shared_graph):
    """A simulated robot and its safety gate."""
    shared_graph.node("person")
    shared_graph.start("sim_robot", use_sim_time=True, real_time_factor=0.0, lockstep=True, lockstep_timeout=0.2)
    shared_graph.start("safety_gate", use_sim_time=True)
    return shared_graph


class Judge:
    """Says on `judge/success` what `word` is, unless it is None; `episodes` counts those it was told of."""

    def __init__(self, graph) -> None:
        self.node = graph.node("judge")
        self.word: bool | None = False
        self.episodes = 0
        self.answers = threading.Event()
        self.answers.set()
        self._publisher = self.node.create_publisher(Bool, "judge/success", reliable(5))
        self.node.create_timer(0.02, self._speak)
        self.node.create_service(Trigger, "judge/new_episode", self._begin)

    def _speak(self) -> None:
        if self.word is not None:
            self._publisher.publish(Bool(data=self.word))

    def _begin(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self.episodes += 1
        self.word = False
        response.success = True
        return response


@pytest.fixture(scope="module")
def judge(robot):
    """A judge that speaks while the graph spins."""
    return Judge(robot)


@pytest.fixture
def make_env(robot):
    made: list[gymnasium.Env] = []

    def make(**arguments: object) -> gymnasium.Env:
        given = {
            "task": "open the drawer", "streams": ("observation.state",), "use_sim_time": True, "timeout": 60.0,
            "success_topic": "judge/success", "episode_service": "judge/new_episode", **arguments,
        }  # fmt: skip
        made.append(gymnasium.make("robot_learning/Robot-v0", **given).unwrapped)
        return made[-1]

    yield make
    for env in made:
        env.close()


def beside(graph, work: Callable[[], object]) -> object:
    """The result of `work`, which is done in a thread while the graph spins."""
    found: list[object] = []

    def run() -> None:
        try:
            found.append(work())
        except Exception as error:
            found.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    graph.until(lambda: found, "the environment", 120)
    if isinstance(found[0], Exception):
        raise found[0]
    return found[0]


def test_the_judge_is_told_of_each_episode_and_the_last_one_s_verdict_forgotten(robot, judge, make_env) -> None:
    env = make_env()
    beside(robot, env.reset)
    judge.word = True
    robot.until(lambda: env._link.success, "the verdict on the last episode")
    before = judge.episodes
    _, info = beside(robot, env.reset)
    assert judge.episodes == before + 1
    assert not info["is_success"]


def test_a_judge_that_falls_silent_is_named(robot, judge, make_env) -> None:
    env = make_env()
    beside(robot, env.reset)
    env.timeout = 3.0
    judge.word = None
    with pytest.raises(GraphIncompleteError, match="judge/success: silent for"):
        beside(robot, lambda: [env.step(ZERO) for _ in range(200)])
    judge.word = False
    beside(robot, env.reset)


def test_a_judge_that_does_not_answer_is_named(robot, judge, make_env) -> None:
    env = make_env()
    beside(robot, env.reset)
    with pytest.raises(ServiceError, match="/judge/new_episode has not answered"):
        env.reset()  # nobody spins the judge meanwhile
