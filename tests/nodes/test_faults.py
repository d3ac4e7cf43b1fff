"""The fault table of docs/faults.md on the whole graph; faults of the gate's own inputs are in test_safety_gate.py."""

import re
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image, JointState
from std_srvs.srv import Trigger

from robot_learning.data import Dataset
from robot_learning.data.check import check
from robot_learning.nodes.base import SECOND, ns_to_stamp, stamp_to_ns

sys.path.insert(0, str(Path(__file__).parent))
from small_disk import MEGABYTE, Ballast, small_disk
from whole import FRONT, PICTURE, Whole

pytestmark = pytest.mark.alone

PERIOD = 0.1  # of control [s]
MAX_AGE = 0.1  # of a picture or joint state, by the contract [s]
JUMP = 5 * SECOND  # of the clock, back [ns]
DOCS = Path(__file__).parents[2] / "docs" / "faults.md"


@pytest.fixture(scope="class")
def lasting(class_graph) -> Whole:
    """Robot, gate and policy, for all faults that go away again."""
    return Whole(class_graph)


@pytest.fixture
def whole(lasting: Whole) -> Iterator[Whole]:
    """The same, acting; what a test breaks is mended after it, and the robot must act again."""
    lasting.until_acting()
    del lasting.states[:-1]
    lasting.told.clear()
    yield lasting
    lasting.tamper.clear()
    lasting.until_acting()


@pytest.fixture
def doomed(graph) -> Whole:
    """Robot, gate and policy of the test's own, to kill."""
    running = Whole(graph)
    running.until_acting()
    return running


def recording(graph, **options: object) -> Whole:
    """The same with a recorder that the gate watches: one episode committed, a second in progress."""
    running = Whole(graph, recorder=True, **options)
    running.until_acting()
    start_recording(running)
    running.call("recorder/stop")
    running.graph.until(lambda: episodes(running) == 1, "the first episode on the disk")
    start_recording(running)
    return running


def start_recording(running: Whole) -> None:
    """Start an episode and wait for some of its frames: a recorder may hear of the robot later than of the service."""

    def frames() -> int:
        status = running.diagnostics.get("/recorder", DiagnosticStatus())
        return int({item.key: item.value for item in status.values}.get("frames", 0))

    running.diagnostics.pop("/recorder", None)
    running.call("recorder/start")
    running.graph.until(lambda: frames() >= 3, "frames of the episode")


def episodes(running: Whole) -> int:
    try:
        return Dataset(running.dataset).num_episodes
    except Exception:  # not there yet
        return 0


def rewound(message):
    """The same message, stamped ten seconds ago."""
    message.header.stamp = ns_to_stamp(stamp_to_ns(message.header.stamp) - 10 * SECOND)
    return message


def picture(header, height: int, width: int, encoding: str, channels: int) -> Image:
    image = Image(header=header, height=height, width=width, encoding=encoding, step=width * channels)
    image.data = bytes(height * width * channels)
    return image


class TestFaultsThatGoAway:
    """One graph for all of them: after each it must act again."""

    def test_camera_stops(self, whole: Whole) -> None:
        fault = whole.breaks("front/image_raw", lambda message: None)
        whole.diagnosed("policy", "front/image_raw", "stale")
        whole.until_holding()  # for want of actions, or already because the machine stalled
        whole.holds_since(fault, MAX_AGE + 2 * PERIOD)

    def test_camera_stamps_jump_back(self, whole: Whole) -> None:
        fault = whole.breaks("front/image_raw", rewound)
        whole.diagnosed("policy", "front/image_raw", "jumped back")
        whole.until_holding()  # for want of actions, or already because the machine stalled
        whole.holds_since(fault, MAX_AGE + 2 * PERIOD)

    def test_joint_states_stop(self, whole: Whole) -> None:
        fault = whole.breaks("joint_states", lambda message: None)
        whole.until_holding("joint_states")
        whole.holds_since(fault, MAX_AGE + 2 * PERIOD)
        whole.diagnosed("safety_gate", "joint_states")

    def test_joint_stamps_jump_back(self, whole: Whole) -> None:
        fault = whole.breaks("joint_states", rewound)
        whole.until_holding("joint_states")
        whole.holds_since(fault, MAX_AGE + 2 * PERIOD)
        whole.diagnosed("safety_gate", "joint_states")

    def test_pictures_of_the_wrong_size(self, whole: Whole) -> None:
        fault = whole.breaks("front/image_raw", lambda message: picture(message.header, 24, 24, "rgb8", 3))
        whole.diagnosed("policy", "front/image_raw", "24")
        whole.until_holding()  # for want of actions, or already because the machine stalled
        whole.holds_since(fault, 2 * PERIOD)

    def test_pictures_of_the_wrong_encoding(self, whole: Whole) -> None:
        fault = whole.breaks("front/image_raw", lambda message: picture(message.header, *PICTURE, "mono8", 1))
        whole.diagnosed("policy", "front/image_raw", "mono8")
        whole.until_holding()  # for want of actions, or already because the machine stalled
        whole.holds_since(fault, 2 * PERIOD)

    def test_unknown_joint_names(self, whole: Whole) -> None:
        def renamed(message: JointState) -> JointState:
            message.name = [f"other_{name}" for name in message.name]
            return message

        fault = whole.breaks("joint_states", renamed)
        whole.until_holding("joint")
        whole.holds_since(fault, 2 * PERIOD)
        whole.diagnosed("safety_gate", "shoulder_pan_joint")

    def test_joint_order_changed(self, whole: Whole) -> None:
        def reversed_(message: JointState) -> JointState:
            message.name = list(reversed(message.name))
            message.position, message.velocity = list(reversed(message.position)), list(reversed(message.velocity))
            return message

        last = list(whole.commands[-1].data)
        whole.tamper["joint_states"] = reversed_
        whole.until_acting()  # mapped by name, it goes on as if nothing had happened
        assert max(abs(a - b) for a, b in zip(last, whole.commands[-1].data, strict=True)) < 0.5

    def test_two_writers_to_the_controller(self, whole: Whole) -> None:
        """A process that is new to the graph; how soon the gate itself is, is measured in test_second_writer.py."""
        other = whole.graph.peer("writer", whole.contract.action.topic)
        whole.until_holding("peer_writer", whole.contract.action.topic)
        whole.holds_since(time.time_ns(), 0.0)
        whole.diagnosed("safety_gate", "peer_writer")
        other.terminate()  # killed, it would stay in the graph for 20 s


def test_policy_killed(doomed: Whole) -> None:
    fault = doomed.kill(doomed.policy)
    doomed.until_holding("action")
    doomed.holds_since(fault, 2 * PERIOD)
    doomed.diagnosed("safety_gate", "action")


def test_gate_killed(doomed: Whole) -> None:
    fault = doomed.kill(doomed.gate)
    doomed.graph.until(lambda: max(map(abs, doomed.joints.velocity)) < 0.01, "the last command to be carried out")
    there = list(doomed.joints.position)
    doomed.holds_since(fault, 2 * PERIOD)
    assert max(abs(a - b) for a, b in zip(there, doomed.joints.position, strict=True)) < 0.02
    doomed.diagnosed("policy", "the safety gate has fallen silent")


def test_recorder_killed(graph) -> None:
    running = recording(graph)
    fault = running.kill(running.recorder)
    running.until_holding("recorder")
    running.holds_since(fault, 2 * PERIOD)
    running.diagnosed("safety_gate", "recorder")
    assert episodes(running) == 1
    running.recorder = running.start("recorder", dataset=str(running.dataset), task="open the drawer")
    running.until_acting()
    start_recording(running)
    running.call("recorder/stop")
    graph.until(lambda: episodes(running) == 2, "the next episode after the kill")


@pytest.mark.parametrize("kind", ["tmpfs", "ext4"])
def test_disk_full_while_recording(graph, tmp_path: Path, kind: str) -> None:
    with small_disk(kind, tmp_path, 40 * MEGABYTE) as disk:
        running = recording(graph, dataset=disk / "dataset", min_free_space=0.0)
        ballast, before = Ballast(disk), Dataset(running.dataset).column("action")
        running.told.clear()
        fault = ballast.fill()
        running.until_holding("recorder", "the disk refused a write")
        running.holds_since(fault, 2 * PERIOD)
        running.diagnosed("recorder", "the disk refused a write", "1 committed ones are safe")
        running.diagnosed("safety_gate", "the disk refused a write")
        refused = running.graph.call(Trigger, "recorder/start")
        assert not refused.success and "the disk refused a write" in refused.message
        np.testing.assert_array_equal(Dataset(running.dataset).column("action"), before)
        ballast.remove()
        start_recording(running)
        running.until_acting()
        running.call("recorder/stop")
        graph.until(lambda: episodes(running) == 2, "the next episode, with space again")
        assert check(running.dataset).problems == []


def test_disk_nearly_full_while_recording(graph, tmp_path: Path) -> None:
    """The episode is saved while there is room for it."""
    with small_disk("tmpfs", tmp_path, 60 * MEGABYTE) as disk:
        running = recording(graph, dataset=disk / "dataset", min_free_space=0.03)
        ballast = Ballast(disk)
        running.told.clear()
        ballast.leave(25 * MEGABYTE)
        fault = time.time_ns()
        running.until_holding("recorder", "min_free_space")
        running.holds_since(fault, 2 * PERIOD)
        running.diagnosed("recorder", "the episode was saved and ended", "min_free_space")
        graph.until(lambda: episodes(running) == 2, "the episode that was in progress")
        assert "min_free_space" in running.graph.call(Trigger, "recorder/start").message
        ballast.remove()
        start_recording(running)
        running.until_acting()


def test_disk_refuses_while_recording(graph) -> None:
    """Where no disk can be mounted: a limit on the size of files stands in for a full one, write() fails alike."""
    running = recording(graph)
    resource.prlimit(running.recorder.pid, resource.RLIMIT_FSIZE, (300_000, 300_000))
    running.until_holding("recorder")
    commands = len(running.commands)
    graph.spin(1.0)
    assert len(running.commands) == commands
    running.diagnosed("recorder", "disk")
    assert episodes(running) == 1


def test_clock_jump_in_simulation(graph) -> None:
    """Everything goes on by a clock that was set back, so the hold is short: it ends with the first frame of the new time."""
    running = Whole(graph, sim_time=True)
    running.until_acting()
    graph.until(lambda: running.now() > JUMP + SECOND, "some simulated time to pass")

    def back(message):
        stamp = message.clock if isinstance(message, Clock) else message.header.stamp
        earlier = ns_to_stamp(stamp_to_ns(stamp) - JUMP)
        stamp.sec, stamp.nanosec = earlier.sec, earlier.nanosec
        return message

    for topic in ("joint_states", "front/image_raw"):  # with the next message, that is
        running.tamper[topic] = back
    before, fault, old = len(running.states), running.breaks("/clock", back), running.now()
    running.diagnosed("safety_gate", "the clock jumped by -")
    assert any("the clock jumped by -" in state.message for state in running.states[before:])
    running.until_acting()  # and when all streams are fresh again, it goes on
    answered = [
        (at, stamp_to_ns(m.header.stamp))
        for at, m in running.sent
        if m.header.frame_id != "hold" and at < fault + JUMP / 2
    ]
    late = [(at - fault) / SECOND for at, stamp in answered if at > fault and stamp > old - JUMP / 2]
    print(f"last action of the old time {max(late, default=0.0):.3f} s after the jump")
    assert not late or max(late) <= 2 * PERIOD


def test_contract_mismatch_at_configure(graph, doomed: Whole, tmp_path: Path) -> None:
    running = doomed
    graph.kill(running.policy)
    running.until_holding("action")
    other = tmp_path / "other.yaml"
    other.write_text(re.sub(r"rate: 30\.0", "rate: 15.0", running.contract_file.read_text()))
    assert other.read_text() != running.contract_file.read_text()
    graph.start("policy", contract=str(other), checkpoint=str(running.checkpoint), task="open the drawer")
    running.diagnosed("policy", "cannot configure", FRONT, "30.0", "15.0")
    commands = len(running.commands)
    graph.spin(1.0)
    assert len(running.commands) == commands
    assert running.diagnostics["/policy"].level == DiagnosticStatus.ERROR


def test_every_row_of_the_table_names_its_test() -> None:
    sources = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    rows = [line for line in DOCS.read_text().splitlines() if line.startswith("| ") and "`test_" in line]
    assert len(rows) >= 17
    for row in rows:
        for name in re.findall(r"`(test_\w+)`", row):
            assert f"def {name}(" in sources, f"docs/faults.md names {name}, which does not exist"
