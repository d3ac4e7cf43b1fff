"""The scripted operator on the real graph: simulated robot, safety gate and recorder as processes."""

from __future__ import annotations

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from std_srvs.srv import Trigger

from robot_learning.data import Dataset


@pytest.fixture
def robot(graph):
    """A simulated robot and its safety gate, as fast as they can without anything depending on it."""
    graph.node("watcher")
    graph.start("sim_robot", use_sim_time=True, real_time_factor=0.0, lockstep=True)
    graph.start("safety_gate", use_sim_time=True)
    return graph


def test_it_records_the_demonstrations_and_failures_asked_for_and_ends(robot, tmp_path):
    root = tmp_path / "drawer"
    robot.start("recorder", use_sim_time=True, dataset=str(root), bags=False, lockstep=True)
    tasks = ["open_drawer", "close_drawer"]
    operator = robot.start("scripted_operator", use_sim_time=True, tasks=tasks, episodes=1, failures=1)
    robot.until(lambda: operator.poll() is not None, "the end of the operator", timeout=180.0)
    assert operator.returncode == 0, robot.logs()
    robot.close()
    dataset = Dataset(root)
    assert dataset.episode_tasks == 2 * ["open the drawer"] + 2 * ["close the drawer"]
    assert dataset.episode_success.tolist() == [True, False, True, False]
    assert _largest_step(dataset) < 0.05  # so no frame is of the room before its reset


def _largest_step(dataset: Dataset) -> float:
    """How far the tool moves in one tick at most, within episodes [m]."""
    names = list(dataset.features["observation.state"].names)
    tool = dataset.column("observation.state")[:, [names.index(f"tcp.{axis}") for axis in "xyz"]]
    return max(float(np.abs(np.diff(tool[start:end], axis=0)).max()) for start, end in dataset.episode_ranges)


def test_an_episode_that_the_recorder_has_ended_by_itself_is_done_again(graph, tmp_path):
    """As it does when a machine that is too busy loses seconds of simulated time."""
    root, node = tmp_path / "drawer", graph.node("watcher")
    graph.start("sim_robot", use_sim_time=True, real_time_factor=2.0, lockstep=True)  # an episode takes seconds
    graph.start("safety_gate", use_sim_time=True)
    graph.start("recorder", use_sim_time=True, dataset=str(root), bags=False, lockstep=True)
    statuses = []
    node.create_subscription(DiagnosticStatus, "recorder/status", statuses.append, 10)
    operator = graph.start("scripted_operator", use_sim_time=True, tasks=["open_drawer"], episodes=1, failures=0)
    graph.until(lambda: any(status.message == "recording episode 0" for status in statuses), "the first episode")
    graph.call(Trigger, "recorder/stop")
    graph.until(lambda: operator.poll() is not None, "the end of the operator", timeout=180.0)
    assert operator.returncode == 0 and "it is done again" in operator.log.read_text(), graph.logs()
    graph.close()
    assert Dataset(root).episode_success.tolist()[-1:] == [True]


def test_without_a_recorder_it_says_which_service_is_missing(robot):
    statuses = []
    robot.nodes[0].create_subscription(DiagnosticStatus, "scripted_operator/status", statuses.append, 10)
    operator = robot.start("scripted_operator", use_sim_time=True, patience=3.0, exit_when_done=False)
    robot.until(
        lambda: any(s.level == DiagnosticStatus.ERROR and "/recorder/start" in s.message for s in statuses),
        "an error about the recorder",
        timeout=90.0,
    )
    assert operator.poll() is None


def test_without_a_simulation_it_fails_and_names_what_it_waited_for(graph):
    operator = graph.start("scripted_operator", patience=1.0, record=False)
    graph.until(lambda: operator.poll() is not None, "the end of the operator")
    assert operator.returncode == 1 and "/sim_robot/reset" in operator.log.read_text()
