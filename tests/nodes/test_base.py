"""The base of every node, as a real process on a real graph."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from lifecycle_msgs.srv import ChangeState
from rclpy.parameter import Parameter
from rosgraph_msgs.msg import Clock
from std_srvs.srv import Trigger

from robot_learning.nodes.base import SECOND, latched, ns_to_stamp, reliable, stamp_to_ns
from robot_learning.nodes.safety_gate import SafetyGate

PROBE = Path(__file__).with_name("probe.py")


class Running:
    """The probe's process and the last things it said."""

    def __init__(self, graph, *arguments: str) -> None:
        self.graph = graph
        self.statuses: list[DiagnosticStatus] = []
        self.diagnostics: list[DiagnosticStatus] = []
        node = graph.node()
        node.create_subscription(DiagnosticStatus, "probe/status", self.statuses.append, reliable(20))
        node.create_subscription(
            DiagnosticArray, "/diagnostics", lambda m: self.diagnostics.extend(m.status), reliable(20)
        )
        self.node = node
        log = (graph.folder / "probe.log").open("wb")
        self.log = Path(log.name)
        self.process = subprocess.Popen(
            [sys.executable, str(PROBE), "--ros-args", *arguments], stdout=log, stderr=subprocess.STDOUT
        )
        self.process.log = self.log  # type: ignore[attr-defined]
        graph.processes.append(self.process)

    def says(self, text: str) -> None:
        self.graph.until(lambda: any(text in s.message for s in self.statuses), f"status {text!r}")


def test_it_starts_by_itself(graph) -> None:
    running = Running(graph)
    running.says("active")
    assert graph.call(Trigger, "probe/greet").message == "hello"


def test_diagnostics_carry_the_full_name_and_the_robot(graph) -> None:
    running = Running(graph, "-r", "__ns:=/left")
    graph.until(lambda: running.diagnostics, "diagnostics")
    assert (running.diagnostics[-1].name, running.diagnostics[-1].hardware_id) == ("/left/probe", "ur5e_2f85")


def test_without_autostart_a_manager_makes_the_transitions(graph) -> None:
    running = Running(graph, "-p", "autostart:=false")
    running.says("starting")
    request = ChangeState.Request()
    request.transition.id = 1
    assert graph.call(ChangeState, "probe/change_state", request).success
    running.says("configured")
    answer = graph.call(Trigger, "probe/greet")
    assert (answer.success, answer.message) == (False, "not active")


def test_a_refused_transition_says_why(graph) -> None:
    running = Running(graph, "-p", "broken:=true")
    running.says("cannot configure: broken on purpose")
    assert running.statuses[-1].level == DiagnosticStatus.ERROR


@pytest.mark.parametrize("times", [1, 5])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_stops_in_good_order_however_often_it_is_told(graph, number, times) -> None:
    running = Running(graph)
    running.says("active")
    for _ in range(times):
        running.process.send_signal(number)
    graph.until(lambda: running.process.poll() is not None, "the end of the process")
    text = running.log.read_text()
    assert (running.process.returncode, "deactivating" in text, "Traceback" in text) == (0, True, False), text


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_signal_that_comes_when_it_has_nearly_ended_changes_nothing(graph, number, monkeypatch) -> None:
    """As under `ros2 launch`, which sends one more when the first node has gone."""
    monkeypatch.setenv("LAST_SIGNAL", str(int(number)))
    running = Running(graph)
    running.says("active")
    running.process.send_signal(number)
    assert running.process.wait(20) == 0


def test_a_mistake_in_a_parameter_is_one_line(graph) -> None:
    running = Running(graph, "-p", "contract:=nonesuch")
    graph.until(lambda: running.process.poll() is not None, "the end of the process")
    text = running.log.read_text()
    assert running.process.returncode == 2 and "error: no contract 'nonesuch'" in text, text
    assert "Traceback" not in text


def test_a_clock_that_goes_back_is_noticed(graph) -> None:
    running = Running(graph, "-p", "use_sim_time:=true")
    clock = running.node.create_publisher(Clock, "/clock", reliable(10))
    running.says("active")
    graph.until(lambda: clock.get_subscription_count() > 0, "the clock's subscriber")
    clock.publish(Clock(clock=ns_to_stamp(50 * SECOND)))
    running.says("jumped +50.0 s")  # from no time at all to the first
    clock.publish(Clock(clock=ns_to_stamp(20 * SECOND)))
    running.says("jumped -30.0 s")


@pytest.mark.parametrize("simulated", [False, True])
def test_the_machine_s_clock_counts_unless_time_is_simulated(graph, simulated: bool) -> None:
    """It is set back by 3 s between two beats."""
    overrides = [Parameter("use_sim_time", value=simulated)]
    node = graph.add(SafetyGate(context=graph.context, parameter_overrides=overrides))
    jumps, shifts = [], [-3.0]
    node.on_time_jump(jumps.append)
    node._machine.shift = lambda: shifts.pop() if shifts else 0.0
    graph.until(lambda: not shifts, "a beat")
    assert jumps == ([] if simulated else [-3.0])


def test_stamps_come_back_as_they_were() -> None:
    assert stamp_to_ns(ns_to_stamp(1_234_567_890_123_456_789)) == 1_234_567_890_123_456_789


def test_latched_is_transient_local() -> None:
    assert latched().durability.name == "TRANSIENT_LOCAL"
