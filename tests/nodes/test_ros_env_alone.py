"""The robot as a Gymnasium environment when nothing of the graph is running: it says what is missing."""

from __future__ import annotations

import pytest

from robot_learning.nodes.ros_env import GraphIncompleteError, RobotEnv
from robot_learning.nodes.service_calls import ServiceError

STATE_ONLY = {"streams": ("observation.state",)}


def test_what_the_graph_lacks_is_named():
    env = RobotEnv(namespace="nobody", timeout=0.5)
    with pytest.raises(GraphIncompleteError, match=r"(?s)joint_states.*front/image_raw.*safety_gate/state.*success"):
        env.reset()
    env.close()


def test_a_person_who_is_not_there_is_missed():
    env = RobotEnv(namespace="nobody", person_judges=True, timeout=0.5, **STATE_ONLY)
    with pytest.raises(GraphIncompleteError, match="success: nobody publishes it"):
        env.probe("open the drawer")
    env.close()


def test_an_environment_that_is_never_reset_takes_no_place_in_the_graph():
    env = RobotEnv(namespace="nobody", **STATE_ONLY)
    assert "_link" not in env.__dict__
    env.close()


def test_a_missing_reset_service_is_named():
    env = RobotEnv(namespace="nobody", reset_service="sim_robot/reset", reset_timeout=0.5)
    with pytest.raises(ServiceError, match="/nobody/sim_robot/reset"):
        env.reset()
    env.close()


def test_a_clock_that_does_not_come_is_named():
    env = RobotEnv(namespace="nobody", use_sim_time=True, timeout=0.5, **STATE_ONLY)
    with pytest.raises(GraphIncompleteError, match="/clock"):
        env.reset()
    env.close()
