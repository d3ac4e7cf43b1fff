"""The fault table of docs/faults.md on the whole graph; faults of the gate's own inputs are in test_safety_gate.py."""

import re
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import Float64MultiArray

from robot_learning.data import Dataset
from robot_learning.nodes.base import SECOND, ns_to_stamp, reliable, stamp_to_ns

sys.path.insert(0, str(Path(__file__).parent))
from whole import FRONT, PICTURE, Whole

PERIOD = 0.1  # of control [s]
MAX_AGE = 0.1  # of a picture or joint state, by the contract [s]
DOCS = Path(__file__).parents[2] / "docs" / "faults.md"


@pytest.fixture(scope="class")
def lasting(class_graph) -> Whole:
    """Robot, gate and policy, for all faults that go away again."""
    return Whole(class_graph)


@pytest.fixture
def whole(lasting: Whole) -> Iterator[Whole]:
    """The same, acting; what a test breaks is mended after it, and the robot must act again."""
    lasting.until_acting()
    lasting.states.clear()
    yield lasting
    lasting.tamper.clear()
    lasting.until_acting()


@pytest.fixture
def doomed(graph) -> Whole:
    """Robot, gate and policy of the test's own, to kill."""
    running = Whole(graph)
    running.until_acting()
    return running


def recording(graph) -> Whole:
    """The same with a recorder that the gate watches: one episode committed, a second in progress."""
    running = Whole(graph, recorder=True)
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
        whole.tamper["front/image_raw"] = lambda message: None
        fault = whole.now()
        whole.until_holding("policy")
        whole.holds_since(fault, MAX_AGE + 2 * PERIOD)
        whole.diagnosed("policy", "front/image_raw", "stale")

    def test_camera_stamps_jump_back(self, whole: Whole) -> None:
        whole.tamper["front/image_raw"] = rewound
        fault = whole.now()
        whole.until_holding("policy")
        whole.holds_since(fault, MAX_AGE + 2 * PERIOD)
        whole.diagnosed("policy", "front/image_raw", "jumped back")

    def test_joint_states_stop(self, whole: Whole) -> None:
        whole.tamper["joint_states"] = lambda message: None
        fault = whole.now()
        whole.until_holding("joint_states")
        whole.holds_since(fault, MAX_AGE + 2 * PERIOD)
        whole.diagnosed("safety_gate", "joint_states")

    def test_joint_stamps_jump_back(self, whole: Whole) -> None:
        whole.tamper["joint_states"] = rewound
        fault = whole.now()
        whole.until_holding("joint_states")
        whole.holds_since(fault, MAX_AGE + 2 * PERIOD)
        whole.diagnosed("safety_gate", "joint_states")

    def test_pictures_of_the_wrong_size(self, whole: Whole) -> None:
        whole.tamper["front/image_raw"] = lambda message: picture(message.header, 24, 24, "rgb8", 3)
        fault = whole.now()
        whole.until_holding("policy")
        whole.holds_since(fault, 2 * PERIOD)
        whole.diagnosed("policy", "front/image_raw", "24")

    def test_pictures_of_the_wrong_encoding(self, whole: Whole) -> None:
        whole.tamper["front/image_raw"] = lambda message: picture(message.header, *PICTURE, "mono8", 1)
        fault = whole.now()
        whole.until_holding("policy")
        whole.holds_since(fault, 2 * PERIOD)
        whole.diagnosed("policy", "front/image_raw", "mono8")

    def test_unknown_joint_names(self, whole: Whole) -> None:
        def renamed(message: JointState) -> JointState:
            message.name = [f"other_{name}" for name in message.name]
            return message

        whole.tamper["joint_states"] = renamed
        fault = whole.now()
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
        other = whole.graph.node("intruder")
        publisher = other.create_publisher(Float64MultiArray, whole.contract.action.topic, reliable(1))
        fault = whole.now()
        whole.until_holding("intruder")
        late = [t for t in whole.acted() if t > fault + 1.0 * SECOND]  # discovery takes its time; from then on it holds
        assert not late
        whole.holds_since(fault, 1.0)
        whole.diagnosed("safety_gate", "intruder")
        other.destroy_publisher(publisher)


def test_policy_killed(doomed: Whole) -> None:
    doomed.graph.kill(doomed.policy)
    fault = doomed.now()
    doomed.until_holding("action")
    doomed.holds_since(fault, 2 * PERIOD)
    doomed.diagnosed("safety_gate", "action")


def test_gate_killed(doomed: Whole) -> None:
    doomed.graph.kill(doomed.gate)
    commands = len(doomed.commands)
    doomed.graph.until(lambda: max(map(abs, doomed.joints.velocity)) < 0.01, "the last command to be carried out")
    there = list(doomed.joints.position)
    doomed.graph.spin(1.0)
    assert len(doomed.commands) - commands <= 1  # one may have been on its way
    assert max(abs(a - b) for a, b in zip(there, doomed.joints.position, strict=True)) < 0.02


def test_recorder_killed(graph) -> None:
    running = recording(graph)
    running.graph.kill(running.recorder)
    fault = running.now()
    running.until_holding("recorder")
    running.holds_since(fault, 2 * PERIOD + PERIOD)  # silence of two periods, noticed within one more
    running.diagnosed("safety_gate", "recorder")
    assert episodes(running) == 1
    running.recorder = running.start("recorder", dataset=str(running.dataset), task="open the drawer")
    running.until_acting()
    start_recording(running)
    running.call("recorder/stop")
    graph.until(lambda: episodes(running) == 2, "the next episode after the kill")


def test_disk_full_while_recording(graph, monkeypatch) -> None:
    plain = subprocess.Popen

    def small_disk(command, **options):  # a limit on the size of files stands in for a full disk: write() fails alike
        if any("recorder" in part for part in command):
            limit = (300_000, 300_000)
            options["preexec_fn"] = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        return plain(command, **options)

    monkeypatch.setattr(subprocess, "Popen", small_disk)
    running = Whole(graph, recorder=True)
    running.until_acting()
    start_recording(running)
    running.call("recorder/stop")
    graph.until(lambda: episodes(running) == 1, "the first episode on the disk")
    running.call("recorder/start")
    running.until_holding("recorder")
    commands = len(running.commands)
    graph.spin(1.0)
    assert len(running.commands) == commands
    running.diagnosed("recorder", "disk")
    assert episodes(running) == 1


def test_clock_jump_in_simulation(graph) -> None:
    running = Whole(graph, sim_time=True)
    running.until_acting()
    graph.until(lambda: running.now() > 3 * SECOND, "some simulated time to pass")
    running.graph.kill(running.sim)
    before = len(running.states)
    running.start_sim()  # its clock starts anew
    graph.until(
        lambda: any("clock" in state.message for state in running.states[before:]), "the gate to hold for the clock"
    )
    running.diagnosed("safety_gate", "")
    running.until_acting()  # and when all streams are fresh again, it goes on


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
