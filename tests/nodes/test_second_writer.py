"""A second writer to the controllers, as a process of its own, and the safety gate in the process of the test.

Each process of a graph finds a newcomer by itself, one up to seconds before another. So the witness of these tests shares its
participant with the gate: the middleware connects both with the newcomer at the same moment, and what is measured is the gate.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.qos import QoSProfile
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray

from robot_learning.contract import Contract
from robot_learning.nodes import events
from robot_learning.nodes.base import reliable, sensor
from robot_learning.nodes.controllers import Controller
from robot_learning.nodes.safety_gate import SafetyGate

sys.path.insert(0, str(Path(__file__).parent))
import gate_peer

pytestmark = pytest.mark.alone

PERIOD = 0.1  # of control [s]
CONTRACT = Contract.load("ur5e_2f85")
ARM, GRIPPER = CONTRACT.action.topic, CONTRACT.gripper.topic
JOINTS = [*CONTRACT.joints.names, CONTRACT.gripper.joint]


class Cell:
    """A gate, a robot at home and a policy that moves it a little; `own` and `foreign` are the times of commands heard [ns]."""

    def __init__(self, graph: Any) -> None:
        self.graph, self.node = graph, graph.node("cell")
        self.own: list[int] = []
        self.foreign: list[int] = []
        self.told: list[str] = []
        self.actions = 0  # sent so far
        self.gate = graph.add(SafetyGate(context=graph.context))
        for topic in (ARM, GRIPPER):
            for profile in (reliable(100), sensor(100)):  # no best-effort writer is heard by the first
                self._witness(topic, profile)
        self.node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, reliable(50))
        self._joints = self.node.create_publisher(JointState, "joint_states", reliable(5))
        self._policy = self.node.create_publisher(JointState, "policy/action", reliable(5))
        self.node.create_timer(0.02, self._measure)
        self.node.create_timer(PERIOD, self._act)

    def _witness(self, topic: str, profile: QoSProfile) -> None:
        def hear(message: Float64MultiArray, info: dict[str, int]) -> None:
            foreign = list(message.data) in (gate_peer.ARM, gate_peer.GRIPPER)
            (self.foreign if foreign else self.own).append(info["received_timestamp"])

        self.node.create_subscription(Float64MultiArray, topic, hear, profile)

    def _on_diagnostics(self, array: DiagnosticArray) -> None:
        self.told += [status.message for status in array.status if status.name == "/safety_gate"]

    def _measure(self) -> None:
        message = JointState(name=JOINTS, position=[*CONTRACT.joints.home, 0.0])
        message.header.stamp = self.node.get_clock().now().to_msg()
        self._joints.publish(message)

    def _act(self) -> None:
        self.actions += 1
        values = [0.01 * (self.actions % 7), 0.0, 0.0, 0.0, 0.1 * (self.actions % 5)]
        message = JointState(name=list(CONTRACT.action.names), position=values)
        message.header.stamp = self.node.get_clock().now().to_msg()
        self._policy.publish(message)

    def acting(self) -> None:
        """Until the gate has sent some more commands."""
        enough = len(self.own) + 20
        self.graph.until(lambda: len(self.own) >= enough, f"commands; the gate said {self.told[-3:]}")

    def holds(self, reason: str, since: Callable[[], int]) -> None:
        """The gate says `reason`, its last command came within two control periods of `since()`, and no more come."""
        self.graph.until(lambda: any(reason in text for text in self.told), f"{reason!r} on /diagnostics: {self.told}")
        self.graph.spin(0.7)
        late = [(at - since()) / 1e9 for at in self.own if at > since()]
        print(f"last command {max(late, default=0.0):.3f} s after")
        assert not late or max(late) <= 2 * PERIOD, f"commands {late} s after"

    def alarms(self) -> list[str]:
        """Second writers that the gate has told of."""
        return [text for text in self.told if "also commands" in text]


class HumbleEvents:
    """Of Humble: there is no event when a publisher comes or goes."""

    def __init__(self, *, liveliness: Any = None) -> None:
        raise AssertionError("the gate asks for no event that Humble has")


@pytest.fixture(params=["matched", "listening alone"])
def cell(graph: Any, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cell]:
    """With every means, and with nothing but what is heard on the topics: no event, and the graph is not asked."""
    if request.param == "listening alone":
        monkeypatch.setattr(events, "SubscriptionEventCallbacks", HumbleEvents)
        monkeypatch.setattr(Controller, "poll", lambda self: None)
    cell = Cell(graph)
    cell.acting()
    yield cell


@pytest.mark.parametrize("topic", [ARM, GRIPPER])
@pytest.mark.parametrize("kind", ["writer", "best_effort_writer"])
def test_a_second_writer_sends(cell: Cell, kind: str, topic: str) -> None:
    writer = cell.graph.peer(kind, topic)
    cell.graph.until(lambda: cell.foreign, "a command of the other")
    cell.holds(f"also commands on {topic}; only the safety gate may", lambda: min(cell.foreign))
    writer.terminate()
    writer.wait(timeout=30)
    cell.acting()


def test_a_second_writer_is_silent(graph: Any) -> None:
    cell = Cell(graph)
    cell.acting()
    writer = graph.peer("silent_writer", ARM)
    graph.until(lambda: len(cell.node.get_publishers_info_by_topic(ARM)) > 1, "the other in the graph")
    discovered = time.time_ns()
    cell.holds(f"/peer_silent_writer also commands on {ARM}", lambda: discovered)
    writer.terminate()
    writer.wait(timeout=30)
    cell.acting()


def test_the_gate_s_own_commands_are_no_alarm(cell: Cell) -> None:
    for _ in range(5):  # held up, so that commands and what is heard of them come in bursts
        time.sleep(0.25)
        cell.acting()
    cell.graph.executor.remove_node(cell.gate)
    cell.graph.nodes.remove(cell.gate)
    cell.gate.destroy_node()
    cell.gate = cell.graph.add(SafetyGate(context=cell.graph.context))
    cell.acting()
    assert cell.alarms() == []
