"""The recorder on the real graph: parity with its bags, what operators ask for, and what happens when things break."""

from __future__ import annotations

import resource
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.parameter import Parameter
from rosgraph_msgs.msg import Clock
from std_msgs.msg import String

from robot_learning.commands.dataset_from_bag import Config, run
from robot_learning.data import Dataset
from robot_learning.data.bag import Bag
from robot_learning.data.bag_conversion import Replay, convert_bag, find_bags
from robot_learning.data.episode_recorder import open_recorded
from robot_learning.data.messages import decode

from .robot_stand_in import Robot, _time, small_contract


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    return tmp_path / "drawer"


@pytest.fixture
def robot(graph: Any, tmp_path: Path) -> Robot:
    return Robot(graph, small_contract(tmp_path)[0])


@pytest.fixture
def recorder(graph: Any, tmp_path: Path, dataset: Path, robot: Robot) -> Any:
    """A recorder process that is ready, and knows its task."""
    process = graph.start("recorder", dataset=str(dataset), contract=small_contract(tmp_path)[1])
    robot.task.publish(String(data="open the drawer"))
    robot.connect()
    return process


def events(path: Path) -> list[str]:
    import json

    found = Bag(path).messages({"/recorder/event"})
    return [json.loads(decode(message.raw, "std_msgs/msg/String").data)["event"] for message in found]


def require_ok(robot: Robot, *services: str) -> None:
    for service in services:
        answer = robot.call(service)
        assert answer.success, answer.message


def test_live_frames_equal_those_of_the_bag(graph: Any, tmp_path: Path, dataset: Path, robot: Robot) -> None:
    from robot_learning.nodes.recorder import Recorder

    parameters = {"dataset": str(dataset), "contract": small_contract(tmp_path)[1], "task": "open the drawer"}
    overrides = [Parameter(name, value=value) for name, value in parameters.items()]
    node = graph.add(Recorder(context=graph.context, parameter_overrides=overrides))
    robot.connect()
    writer, live = node._recorder.writer, []
    add = writer.add_frame
    writer.add_frame = lambda frame, task: (live.append((frame, task)), add(frame, task))  # listens in before encoding
    require_ok(robot, "start")
    robot.ticks(3)
    robot.ticks(2, "teleop")
    robot.say(success=True)
    robot.ticks(2)
    require_ok(robot, "stop")
    bag = find_bags(dataset)[0]
    replayed = list(Replay(Bag(bag), robot.contract).frames())
    assert len(live) == len(replayed) == 7
    for (frame, task), again in zip(live, replayed, strict=True):
        assert (task, frame.keys()) == (again.task, again.values.keys())
        for key, value in frame.items():
            np.testing.assert_array_equal(value, again.values[key], err_msg=key)
    assert run(Config((dataset,), tmp_path / "again")) == 0
    one, two = Dataset(dataset), Dataset(tmp_path / "again")
    for key in ("observation.state", "action", "observation.age", "next.success", "intervention"):
        np.testing.assert_array_equal(one.column(key), two.column(key))
    assert one.column("observation.state")[:, 0] == pytest.approx(0.01 * np.arange(7), abs=1e-6)
    assert one.column("next.success").ravel().tolist()[-2:] == [True, True]
    np.testing.assert_array_equal(one.column("action"), robot.sent)


def test_paused_and_resumed(recorder: Any, robot: Robot, dataset: Path) -> None:
    require_ok(robot, "start")
    robot.ticks(2)
    require_ok(robot, "pause")
    robot.sensors()
    robot.act()
    robot.spin()
    require_ok(robot, "resume")
    robot.ticks(2)
    require_ok(robot, "stop")
    found = Dataset(dataset)
    np.testing.assert_array_equal(found.column("action"), [*robot.sent[:2], *robot.sent[3:]])
    assert found.episode_info(0)["paused_before_frames"] == [2]
    assert events(find_bags(dataset)[0]) == ["start", "pause", "resume", "save"]


def test_discarded_and_re_recorded(recorder: Any, robot: Robot, dataset: Path) -> None:
    require_ok(robot, "start")
    robot.ticks(1)
    require_ok(robot, "discard", "start")
    robot.ticks(1)
    require_ok(robot, "re_record")
    robot.ticks(2)
    require_ok(robot, "stop")
    np.testing.assert_array_equal(Dataset(dataset).column("action"), robot.sent[2:])
    kept = sorted((dataset / "bags/discarded").iterdir())
    assert [events(bag) for bag in kept] == [["start", "discard"]] * 2


def test_human_override_is_in_dataset_and_bag(recorder: Any, robot: Robot, dataset: Path) -> None:
    require_ok(robot, "start")
    for source in ("policy", "teleop", "hold", "policy"):
        robot.ticks(1, source)
    require_ok(robot, "stop")
    found = Dataset(dataset)
    assert found.column("intervention").ravel().tolist() == [False, True, False, False]
    assert found.column("held").ravel().tolist() == [False, False, True, False]
    sent = Bag(find_bags(dataset)[0]).messages({"/safety_gate/action_sent"})
    sources = [decode(message.raw, "sensor_msgs/msg/JointState").header.frame_id for message in sent]
    assert sources == ["policy", "teleop", "hold", "policy"]


def test_killed_in_mid_episode(recorder: Any, robot: Robot, graph: Any, tmp_path: Path, dataset: Path) -> None:
    require_ok(robot, "start")
    robot.ticks(2)
    require_ok(robot, "stop", "start")
    robot.ticks(3)
    graph.kill(recorder)
    assert Dataset(dataset).num_episodes == 1
    robot.status.clear()
    graph.start("recorder", dataset=str(dataset), contract=small_contract(tmp_path)[1])
    robot.connect()
    left = next((dataset / "bags/interrupted").iterdir())
    with open_recorded(tmp_path / "rescued", robot.contract) as writer:
        frames = convert_bag(Bag(left), writer, robot.contract).frames
    assert frames in (2, 3)  # the last tick may have been on its way to the disk
    np.testing.assert_array_equal(Dataset(tmp_path / "rescued").column("action"), robot.sent[2 : 2 + frames])
    graph.until(lambda: robot.call("start").success, "the new recorder to have heard of its task")
    robot.ticks(1)
    require_ok(robot, "stop")
    assert Dataset(dataset).num_episodes == 2


def test_a_full_disk_is_an_error_and_loses_the_open_episode_only(recorder: Any, robot: Robot, dataset: Path) -> None:
    require_ok(robot, "start")
    robot.ticks(1)
    require_ok(robot, "stop", "start")
    _, hard = resource.prlimit(recorder.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(recorder.pid, resource.RLIMIT_FSIZE, (40_000, hard))  # the kernel refuses bytes beyond this

    def broken() -> bool:
        robot.sensors()
        robot.act()
        robot.spin()
        return robot.level() == DiagnosticStatus.ERROR

    robot.graph.until(broken, "an error on the status")
    assert "the disk refused a write" in robot.message() and "1 committed ones are safe" in robot.message()
    resource.prlimit(recorder.pid, resource.RLIMIT_FSIZE, (hard, hard))
    require_ok(robot, "start")
    robot.ticks(1)
    require_ok(robot, "stop")
    assert Dataset(dataset).num_episodes == 2
    assert robot.graph.until(lambda: robot.level() == DiagnosticStatus.OK, "a healthy recorder") is None


def test_a_stop_signal_saves_the_open_episode(recorder: Any, robot: Robot, dataset: Path) -> None:
    require_ok(robot, "start")
    robot.ticks(2)
    recorder.send_signal(signal.SIGINT)
    recorder.send_signal(signal.SIGINT)
    assert recorder.wait(timeout=30) == 0
    found = Dataset(dataset)
    assert (found.num_frames, found.episode_info(0)["ended_by"]) == (2, "deactivated")
    assert "Traceback" not in recorder.log.read_text()


def test_a_clock_jump_ends_the_episode(graph: Any, tmp_path: Path, dataset: Path, robot: Robot) -> None:
    graph.start(
        "recorder", dataset=str(dataset), contract=small_contract(tmp_path)[1], task="practise", use_sim_time=True
    )
    clock = robot.node.create_publisher(Clock, "/clock", 1)
    graph.until(clock.get_subscription_count, "the recorder on /clock")
    robot.connect()
    assert "no time yet" in robot.call("start").message
    clock.publish(Clock(clock=_time(50 * 10**9)))
    robot.spin()
    require_ok(robot, "start")
    for number in range(3):
        now = 50 * 10**9 + number * 10**8
        clock.publish(Clock(clock=_time(now)))
        robot.spin()
        robot.sensors(now)
        robot.spin()
        robot.act(stamp=now)
        graph.until(lambda n=number: robot.seen() > n, "the tick")
    clock.publish(Clock(clock=_time(10 * 10**9)))
    graph.until(lambda: robot.state("episodes") == "1", "the saved episode")
    assert robot.level() == DiagnosticStatus.WARN and "clock jump of -40.200 s" in robot.message()
    found = Dataset(dataset)
    assert (found.num_frames, found.episode_info(0)["ended_by"]) == (3, "clock jump of -40.200 s")


def test_services_say_what_is_wrong(graph: Any, tmp_path: Path, dataset: Path, robot: Robot) -> None:
    graph.start("recorder", dataset=str(dataset), contract=small_contract(tmp_path)[1], min_free_space=1e9)
    robot.connect()
    assert "no episode is open" in robot.call("stop").message
    assert "no task" in robot.call("start").message
    robot.task.publish(String(data="open the drawer"))
    graph.until(lambda: "min_free_space" in robot.call("start").message, "the answer that space is short")


def test_a_dataset_must_be_named(graph: Any, tmp_path: Path, robot: Robot) -> None:
    graph.start("recorder", contract=small_contract(tmp_path)[1])
    graph.until(lambda: robot.level() == DiagnosticStatus.ERROR, "an error on the status")
    assert "set dataset:=FOLDER" in robot.message()
