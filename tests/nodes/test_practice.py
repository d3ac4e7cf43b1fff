"""The node `practice` with the simulated robot and its safety gate over DDS; policy and judge are played by the test."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.qos import DurabilityPolicy, QoSProfile, qos_profile_sensor_data
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool, String
from std_srvs.srv import Trigger

from robot_learning.contract import Contract
from robot_learning.control.kinematics import Kinematics
from robot_learning.policies import Checkpoint, save_checkpoint
from robot_learning.training.practice_log import Entry, PracticeLog

OPEN, CLOSE, DOOR = "open the drawer", "close the drawer", "open the sliding door"
QUESTIONS = {OPEN: "is the drawer open?", CLOSE: "is the drawer closed?", DOOR: "is the sliding door open?"}


class StandIn:
    """Acts, with zeros or `turn`, while it is started, and judges with each message of the joints: done or not, or silent."""

    def __init__(self, graph) -> None:
        self.node = node = graph.node("policy")
        contract = Contract.load("ur5e_2f85")
        self.names, self.kinematics, self.joints = list(contract.action.names), Kinematics(contract), JointState()
        self.statuses: list[DiagnosticStatus] = []
        self.recorded: list[str] = []  # what the recorder was asked for
        self.begin()
        self.actions = node.create_publisher(JointState, "policy/action", 1)
        self.success = node.create_publisher(Bool, "success", 5)
        self.judged = node.create_publisher(JointState, "reward/judged", 5)
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        node.create_subscription(String, "task", self._on_task, latched)
        node.create_subscription(JointState, "joint_states", self._on_joints, qos_profile_sensor_data)
        node.create_subscription(DiagnosticStatus, "practice/status", self.statuses.append, 5)
        services = {
            **{f"recorder/{name}": partial(self._record, name) for name in ("start", "pause", "stop", "discard")},
            "policy/start": self._start,
            "policy/stop": self._stop,
            "reward/new_episode": self._new_episode,
            "help": self._help,
        }
        for name, handler in services.items():
            node.create_service(Trigger, name, handler)

    def begin(self) -> None:
        """A new test."""
        self.acting, self.task, self.helped, self.told = False, "", 0, 0
        self.turn = 0.0  # its action about the vertical
        self.probability: dict[str, float] = {}  # by task, what is told with a verdict, of 0.5 that it takes
        self.statuses.clear()
        self.recorded.clear()
        self.verdict: Callable[[], bool | None] = lambda: False

    def _on_task(self, message: String) -> None:
        self.task = message.data

    def _start(self, _, response):
        self.acting, self.told, response.success = True, 0, True
        return response

    def _stop(self, _, response):
        self.acting, response.success = False, True
        return response

    def _new_episode(self, _, response):
        """Says which question it asks, as the reward node does: that of the last task it has heard of."""
        response.success, response.message = True, f"judging: {QUESTIONS.get(self.task, 'nothing')}"
        return response

    def _record(self, name, _, response):
        self.recorded.append(name)
        response.success, response.message = True, f"recording: {self.task}"
        return response

    def _help(self, _, response):
        self.helped, response.success = self.helped + 1, True
        return response

    def tool(self) -> np.ndarray:
        """Where the tool centre point is, x, y, z [m] and yaw [rad]."""
        where = dict(zip(self.joints.name, self.joints.position, strict=True))
        pose = self.kinematics.forward([where[joint] for joint in self.kinematics.contract.joints.names])
        return np.array([*pose.position, pose.yaw])

    def wrist(self) -> float:
        """Angle of the last joint [rad]."""
        return float(self.joints.position[self.joints.name.index("wrist_3_joint")])

    def _on_joints(self, message: JointState) -> None:
        self.joints = message
        if self.acting:
            self.told += 1
            action = JointState(name=self.names, position=[0.0, 0.0, 0.0, self.turn, 0.0])
            action.header.stamp, action.header.frame_id = message.header.stamp, "policy"
            self.actions.publish(action)
        verdict = self.verdict()
        if verdict is not None:
            told = [self.probability.get(self.task, float(verdict)), 0.5]
            self.judged.publish(JointState(name=["probability", "threshold"], position=told))
            self.success.publish(Bool(data=verdict))


@pytest.fixture(scope="module")
def room(shared_graph):
    """The simulated robot, its safety gate, and the stand-in."""
    shared_graph.other = StandIn(shared_graph)
    shared_graph.start("sim_robot", "-r", "success:=sim_robot/success", use_sim_time=True)
    shared_graph.start("safety_gate", use_sim_time=True)
    return shared_graph


@pytest.fixture
def robot(room, tmp_path: Path):
    """With `practise(...)`, which starts the node for this test."""
    started = []
    room.other.begin()

    def practise(**parameters):
        given = {
            "run": str(tmp_path),
            "tasks": ["open_drawer", "close_drawer"],
            "recorder": "",
            "episode_ticks": 15,
            "look": False,
            **parameters,
        }
        started.append(room.start("practice", use_sim_time=True, linger=1, patience=5.0, **given))
        return started[-1]

    room.practise = practise
    yield room
    room.stop(*started)


def diary(folder: Path) -> list[dict]:
    file = folder / "practice.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def until_written(robot, folder: Path, episodes: int) -> list[dict]:
    robot.until(lambda: len(diary(folder)) >= episodes, f"{episodes} episodes in the diary", 120.0)
    return diary(folder)[:episodes]


def soon(robot) -> Callable[[], bool]:
    """Success after some ten messages of each episode."""
    return lambda: robot.other.acting and robot.other.told > 40


def test_each_success_is_followed_by_the_way_back(robot, tmp_path: Path) -> None:
    robot.other.verdict = soon(robot)
    robot.practise()
    told = until_written(robot, tmp_path, 3)
    assert [(entry["task"], entry["solved"]) for entry in told] == [(OPEN, True), (CLOSE, True), (OPEN, True)]
    assert all(entry["ticks"] > 0 for entry in told)


def test_episodes_begin_where_demonstrations_of_the_policy_did(robot, tmp_path: Path) -> None:
    place = [0.52, 0.18, 0.28, 0.3]
    plan = {"ticks": {OPEN: 50}, "starts": [place]}
    policy = Checkpoint("chunk", [OPEN, CLOSE], {"retry": plan}, Contract.load("ur5e_2f85"), {}, {"w": torch.zeros(1)})
    save_checkpoint(tmp_path / "policy", policy)
    robot.practise(checkpoint=str(tmp_path / "policy"))
    robot.until(lambda: robot.other.acting and robot.other.told > 5, "an episode to run", 120.0)
    away = np.abs(robot.other.tool() - place)
    assert away.max() < 0.2 and away[:3].max() < 0.05, away  # the usual home is 0.18 m away


def test_a_wrist_that_an_episode_has_wound_up_is_unwound_before_the_next(robot, tmp_path: Path) -> None:
    robot.other.turn = 1.0
    robot.practise(episode_ticks=40)
    robot.until(lambda: abs(robot.other.wrist()) > 5, "a wrist that is wound up", 60.0)
    robot.other.turn = 0.0
    until_written(robot, tmp_path, 1)
    robot.until(lambda: robot.other.acting, "the next episode")
    assert abs(robot.other.wrist()) < 1.5


def test_failures_change_the_task_and_then_ask_for_help(robot, tmp_path: Path) -> None:
    robot.practise(retries=1, ask_after=2, help_service="help")
    told = until_written(robot, tmp_path, 3)
    assert [entry["task"] for entry in told] == [OPEN, CLOSE, OPEN]
    assert [entry["before"] for entry in told] == ["home", "home", "person"]
    assert robot.other.helped == 1


def test_stuck_it_tries_the_task_that_mends_the_scene(robot, tmp_path: Path) -> None:
    robot.practise(stir_after=1, recover=["open_sliding"])
    told = until_written(robot, tmp_path, 3)
    assert [entry["task"] for entry in told] == [OPEN, DOOR, OPEN]


def test_a_goal_that_is_reached_already_is_passed_over(robot, tmp_path: Path) -> None:
    robot.other.verdict = lambda: robot.other.task == OPEN
    robot.practise()
    assert until_written(robot, tmp_path, 1)[0]["task"] == CLOSE


def test_a_goal_that_may_be_reached_already_is_passed_over(robot, tmp_path: Path) -> None:
    robot.other.probability = {OPEN: 0.3}
    robot.practise()
    assert until_written(robot, tmp_path, 1)[0]["task"] == CLOSE


def test_what_seems_done_all_the_time_is_never_a_success(robot, tmp_path: Path) -> None:
    robot.other.verdict = lambda: True
    robot.practise()
    assert [entry["solved"] for entry in until_written(robot, tmp_path, 2)] == [False, False]


def test_what_seemed_done_may_be_undone_and_done_again(robot, tmp_path: Path) -> None:
    robot.other.verdict = lambda: not (robot.other.acting and 10 < robot.other.told < 25)
    robot.practise()
    assert [entry["solved"] for entry in until_written(robot, tmp_path, 2)] == [True, True]


def test_a_success_that_does_not_last_is_none(robot, tmp_path: Path) -> None:
    robot.other.verdict = lambda: robot.other.acting and 40 < robot.other.told < 50
    robot.practise()
    assert not until_written(robot, tmp_path, 1)[0]["solved"]


def seen_at_the_end(robot) -> Callable[[], bool]:
    """Success once an episode is over, when the arm is out of the way."""
    return lambda: robot.other.told > 5 and not robot.other.acting


def test_what_is_seen_from_home_decides(robot, tmp_path: Path) -> None:
    robot.other.verdict = seen_at_the_end(robot)
    robot.practise(look=True)
    assert until_written(robot, tmp_path, 1)[0]["solved"]


def test_what_cannot_be_seen_from_home_is_no_success(robot, tmp_path: Path) -> None:
    robot.other.verdict = soon(robot)
    robot.practise(look=True)
    assert not until_written(robot, tmp_path, 1)[0]["solved"]


def test_what_was_seen_done_before_the_episode_was_not_done_by_it(robot, tmp_path: Path) -> None:
    robot.other.verdict = lambda: not (robot.other.acting and 10 < robot.other.told < 25)
    robot.practise(look=True)
    assert not until_written(robot, tmp_path, 1)[0]["solved"]


def test_the_way_home_is_not_recorded(robot, tmp_path: Path) -> None:
    robot.other.verdict = seen_at_the_end(robot)
    robot.practise(look=True, recorder="recorder")
    assert until_written(robot, tmp_path, 1)[0]["saved"]
    assert robot.other.recorded[:3] == ["start", "pause", "stop"]


def test_an_e_stop_on_the_way_home_leaves_no_verdict(robot, tmp_path: Path) -> None:
    press, release = (robot.other.node.create_client(Trigger, f"safety_gate/{n}") for n in ("estop", "reset_estop"))
    robot.other.verdict = seen_at_the_end(robot)
    robot.practise(look=True, recorder="recorder")
    robot.until(lambda: "pause" in robot.other.recorded, "the way home", 120.0)
    press.call_async(Trigger.Request())
    robot.until(lambda: "discard" in robot.other.recorded, "the episode to be discarded", 120.0)
    robot.until(lambda: "estop" in robot.other.statuses[-1].message, "practice to say why it waits")
    assert not diary(tmp_path)
    release.call_async(Trigger.Request())
    until_written(robot, tmp_path, 1)


def test_what_the_recorder_would_wrongly_call_a_success_is_discarded(robot, tmp_path: Path) -> None:
    robot.other.verdict = lambda: True
    robot.practise(recorder="recorder")
    assert not until_written(robot, tmp_path, 1)[0]["saved"]
    assert robot.other.recorded[:2] == ["start", "discard"]


def test_without_a_verdict_the_episode_is_cut_and_practice_waits(robot, tmp_path: Path) -> None:
    robot.other.verdict = lambda: None if robot.other.acting and robot.other.told > 20 else False
    robot.practise(episode_ticks=100)
    first = until_written(robot, tmp_path, 1)[0]
    assert "nobody judges" in first["cut"] and not first["solved"]
    robot.other.verdict = soon(robot)
    robot.until(lambda: any(entry["solved"] for entry in diary(tmp_path)), "practice to go on", 120.0)


def test_an_e_stop_cuts_the_episode_and_holds_until_it_is_released(robot, tmp_path: Path) -> None:
    press, release = (robot.other.node.create_client(Trigger, f"safety_gate/{n}") for n in ("estop", "reset_estop"))
    robot.practise(episode_ticks=100)
    robot.until(lambda: robot.other.told > 20, "an episode to run", 120.0)
    press.call_async(Trigger.Request())
    assert "estop" in until_written(robot, tmp_path, 1)[0]["cut"]
    robot.until(lambda: "estop" in robot.other.statuses[-1].message, "practice to say why it waits")
    assert not robot.other.acting
    robot.other.verdict = soon(robot)
    release.call_async(Trigger.Request())
    robot.until(lambda: any(entry["solved"] for entry in diary(tmp_path)), "practice to go on", 120.0)


def test_who_has_helped_with_the_e_stop_pressed_is_not_asked_again(robot, tmp_path: Path) -> None:
    press, release, helped = (
        robot.other.node.create_client(Trigger, name)
        for name in ("safety_gate/estop", "safety_gate/reset_estop", "practice/helped")
    )
    robot.practise(retries=1, ask_after=2)
    robot.until(lambda: said(robot, "put the scene in order"), "a person to be asked", 120.0)
    press.call_async(Trigger.Request())
    robot.until(helped.service_is_ready, "the service for the person")
    helped.call_async(Trigger.Request())
    robot.until(lambda: said(robot, "estop"), "practice to say why it waits")
    release.call_async(Trigger.Request())
    told = until_written(robot, tmp_path, 3)
    assert (told[2]["before"], told[2]["cut"]) == ("person", "")


def said(robot, words: str) -> bool:
    """Whether this is what practice says now."""
    return bool(robot.other.statuses) and words in robot.other.statuses[-1].message


def test_who_helps_unasked_is_told_so(robot, tmp_path: Path) -> None:
    robot.practise()
    robot.until(lambda: said(robot, OPEN), "the first episode", 120.0)
    assert "nobody had asked" in robot.call(Trigger, "practice/helped").message


def test_why_the_last_episode_was_cut_off_is_said_in_the_next(robot, tmp_path: Path) -> None:
    robot.other.verdict = lambda: None if robot.other.acting and robot.other.told > 20 else False
    robot.practise(episode_ticks=100)
    until_written(robot, tmp_path, 1)
    robot.until(lambda: said(robot, "was cut off: nobody judges"), "the reason", 120.0)


def test_two_cannot_practise_in_one_run(robot, tmp_path: Path) -> None:
    (log := PracticeLog(tmp_path)).add(Entry(OPEN, True, 10))
    robot.practise()
    robot.until(lambda: said(robot, "is being written by process"), "the reason", 120.0)
    log.close()


def test_killed_it_goes_on_with_its_diary(robot, tmp_path: Path) -> None:
    robot.other.verdict = soon(robot)
    first = robot.practise()
    before = until_written(robot, tmp_path, 1)
    robot.kill(first)
    again = robot.practise(steps=sum(entry["ticks"] for entry in diary(tmp_path)) + 1)
    robot.until(lambda: again.poll() is not None, "the last tick", 120.0)
    assert again.returncode == 0, robot.logs()
    told = diary(tmp_path)
    assert told[0] == before[0] and told[1]["task"] == CLOSE


def test_without_a_run_it_says_so(robot) -> None:
    robot.practise(run="")
    robot.until(lambda: any("the parameter run is empty" in s.message for s in robot.other.statuses), "the reason")
