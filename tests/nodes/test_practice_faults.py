"""The table "While it practises" of docs/faults.md: one graph, of `robot-learning up practice`, to which all of it happens."""

from __future__ import annotations

import json
import signal

import pytest
from diagnostic_msgs.msg import DiagnosticStatus

from robot_learning.data import Dataset
from robot_learning.data.check import check
from tests.nodes.whole_practice import Practising

pytestmark = pytest.mark.alone


@pytest.fixture(scope="module")
def graph_of_practice(shared_graph) -> Practising:
    return Practising(shared_graph)


@pytest.fixture
def practice(graph_of_practice: Practising) -> Practising:
    """Practising, in the middle of an episode; policies that have learned from practice act."""
    graph_of_practice.until(lambda: graph_of_practice.version() >= 1, "a policy of the learner's to act")
    graph_of_practice.until_within_an_episode()
    return graph_of_practice


def test_the_learner_is_killed_while_it_practises(practice: Practising) -> None:
    before = practice.version()
    practice.kill("learner")
    practice.until_solved(1)
    assert "learner" not in practice.said  # the robot went on without it
    practice.until_told("practice", "fallen silent: learner")
    practice.until(lambda: practice.version() > before, "a policy of the next round to act")


def test_the_policy_is_killed_while_it_practises(practice: Practising) -> None:
    before, version = len(practice.diary()), practice.version()
    practice.kill("policy")
    practice.until_told("practice", "fallen silent: policy")
    practice.until_solved(1)
    assert practice.diary()[before]["cut"] and not practice.diary()[before]["saved"]
    practice.until(lambda: practice.version() >= version, "the newest weights")
    assert not practice.has_told("practice", "has not answered for")


def test_the_reward_node_is_killed_while_it_practises(practice: Practising) -> None:
    before = len(practice.diary())
    practice.kill("reward")
    practice.until_told("practice", "fallen silent: reward")
    practice.until_solved(1)
    assert practice.diary()[before]["cut"] and not practice.diary()[before]["saved"]
    assert not practice.has_told("practice", "has not answered for")


def test_the_recorder_is_killed_while_it_practises(practice: Practising) -> None:
    interrupted = practice.dataset / "bags" / "interrupted"
    practice.kill("recorder")
    practice.until_told("practice", "fallen silent: recorder")
    practice.until_solved(1)
    assert len(list(interrupted.iterdir())) == 1
    assert Dataset(practice.dataset).num_episodes >= practice.saved()


def test_the_camera_is_unplugged_while_it_practises(practice: Practising) -> None:
    before = len(practice.diary())
    practice.unplug()
    practice.until_told("policy", "front/image_raw: stale")
    practice.until_told("safety_gate", "holding: policy is in error")
    practice.until(lambda: len(practice.diary()) > before, "the end of the episode")
    assert practice.diary()[before]["cut"] and not practice.diary()[before]["saved"]
    assert practice.said["safety_gate"].level != DiagnosticStatus.OK
    practice.plug_in()
    practice.until_solved(1)


def test_the_machine_is_restarted_while_it_practises(practice: Practising) -> None:
    """The kill comes while an episode is recorded, and the line of the one before, which is committed, was not whole yet."""
    practice.kill_all()
    lines = practice.diary_file.read_text().splitlines(keepends=True)
    practice.diary_file.write_text("".join(lines)[: -len(lines[-1]) // 2])
    rounds = len(list((practice.run / "rounds").glob("round_*")))
    episodes = Dataset(practice.dataset).num_episodes
    practice.start()
    practice.until_solved(1)
    assert practice.diary_file.read_text().startswith("".join(lines[:-1]))
    assert Dataset(practice.dataset).num_episodes > episodes
    practice.until(lambda: practice.version() >= rounds, "a policy of the next round to act")


def test_after_all_that_no_episode_is_lost_or_there_twice(graph_of_practice: Practising) -> None:
    practice = graph_of_practice
    practice.up.send_signal(signal.SIGINT)
    practice.up.wait(30)
    dataset = Dataset(practice.dataset)
    assert check(practice.dataset).problems == []
    left = list(zip(dataset.episode_tasks, dataset.episode_success, strict=True))
    for entry in practice.diary():
        if entry["saved"]:
            assert (entry["task"], entry["solved"]) in left, json.dumps(entry)
            del left[: left.index((entry["task"], entry["solved"])) + 1]
    assert dataset.num_episodes - practice.saved() <= 2  # the lost line, and what was saved in the end
