"""The safety gate on the real graph: what it lets through, and that every fault holds the robot and says why."""

from __future__ import annotations

import dataclasses
import itertools
import math
import os
import runpy
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.srv import SetParameters, SetParametersAtomically
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool, Float64MultiArray
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory

from robot_learning.contract import Contract
from robot_learning.nodes.safety_gate import SafetyGate

HERE = Path(__file__).parent
pytestmark = pytest.mark.alone

CONTRACT = Contract.load("ur5e_2f85")
NAMES = [*CONTRACT.joints.names, CONTRACT.gripper.joint]
ENTRIES = list(CONTRACT.action.names)
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
PERIOD = 0.1  # of control [s]
MORE = 8  # actions sent after a fault, of which at most two may still be carried out


class Bench:
    """A gate as a process, and around it, in this process: a robot that follows at once, a policy, listeners.

    Each bench has a namespace of its own, so that several live side by side.
    """

    number = itertools.count()

    def __init__(self, graph, **parameters: object) -> None:
        self.namespace = f"/bench_{next(Bench.number)}"
        self.graph, self.node = graph, graph.node("bench", namespace=self.namespace)
        self.commanded: list[int] = []  # when the commands to arm and gripper came [ns, system time]
        self.gate = graph.start("safety_gate", "-r", f"__ns:={self.namespace}", **parameters)
        self.peers: list[subprocess.Popen[bytes]] = []
        self.action: dict[str, float] | None = None
        self.reset()
        self.sent_actions = 0
        self._clock, self.late = None, 0.0
        self.arm: list[list[float]] = []
        self.gripper: list[float] = []
        self.sent: list[JointState] = []
        self.requested: list[JointState] = []
        self.state, self.states, self.diagnostics, self.told = DiagnosticStatus(), [], DiagnosticStatus(), []
        node = self.node
        node.create_subscription(Float64MultiArray, CONTRACT.action.topic, self._follow, 50)
        node.create_subscription(Float64MultiArray, CONTRACT.gripper.topic, self._grip, 50)
        node.create_subscription(JointState, "safety_gate/action_sent", self.sent.append, 50)
        node.create_subscription(JointState, "safety_gate/action_requested", self.requested.append, 50)
        node.create_subscription(DiagnosticStatus, "safety_gate/state", self._see, LATCHED)
        node.create_subscription(DiagnosticArray, "/diagnostics", self._diagnose, 20)
        self._joint_states = node.create_publisher(JointState, "joint_states", 5)
        self._actions = node.create_publisher(JointState, "policy/action", 5)
        node.create_timer(0.01, self._measure)
        node.create_timer(0.1, self._act)

    def reset(self) -> None:
        """A healthy robot at home, and a policy that holds it there."""
        self.positions = dict(zip(NAMES, [*CONTRACT.joints.home, 0.0], strict=True))
        self.order, self.rename, self.measuring = list(NAMES), "", True
        self.action = dict.fromkeys(ENTRIES, 0.0)

    def _grip(self, message: Float64MultiArray, info: dict[str, int]) -> None:
        self.commanded.append(info["received_timestamp"])
        self.gripper.append(message.data[0])

    def _follow(self, message: Float64MultiArray, info: dict[str, int]) -> None:
        self.commanded.append(info["received_timestamp"])
        self.arm.append(list(message.data))
        self.positions.update(zip(CONTRACT.joints.names, message.data, strict=True))

    def _see(self, status: DiagnosticStatus) -> None:
        self.state = status
        self.states.append(status.message)

    def _diagnose(self, array: DiagnosticArray) -> None:
        for status in array.status:
            if status.name == f"{self.namespace}/safety_gate":
                self.diagnostics = status
                self.told.append(status.message)

    def _measure(self) -> None:
        if self.measuring:
            names = [self.rename + name for name in self.order]
            message = JointState(name=names, position=[self.positions[name] for name in self.order])
            message.header.stamp = self._now()
            self._joint_states.publish(message)

    def _act(self) -> None:
        if self.action is not None:
            message = JointState(name=list(self.action), position=list(self.action.values()))
            message.header.stamp = self._now(self.late)
            self._actions.publish(message)
            self.sent_actions += 1

    def simulate(self) -> None:
        """Publish /clock, and stamp by it."""
        self._clock = self.node.create_publisher(Clock, "/clock", 5)
        self._offset, self.late = 0.0, 0.0
        self.node.create_timer(0.01, self._tick)

    def set_clock(self, seconds: float) -> None:
        """Set the simulated clock; the policy goes on stamping by the old time."""
        self._offset += seconds
        self.late -= seconds

    def _now(self, late: float = 0.0) -> Time:
        if self._clock is None:
            return self.node.get_clock().now().to_msg()
        seconds = time.monotonic() + 1000.0 + self._offset + late
        return Time(sec=int(seconds), nanosec=int(seconds % 1.0 * 1e9))

    def _tick(self) -> None:
        self._clock.publish(Clock(clock=self._now()))

    def wait(self, text: str) -> None:
        """Until the gate's state contains `text`."""
        self.graph.until(lambda: text in self.state.message, f"state {text!r}; it went {self.states}")

    def acting(self) -> Bench:
        """Until the policy acts."""
        self.wait("acting: policy")
        return self

    def peer(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Another process of the graph."""
        self.peers.append(self.graph.peer(*arguments, namespace=self.namespace))
        return self.peers[-1]

    def act_more(self) -> None:
        """Until the policy has sent some more actions."""
        enough = self.sent_actions + MORE
        self.graph.until(lambda: self.sent_actions >= enough, "more actions")

    def holds(self, cause: Callable[[], object], reason: str) -> None:
        """Two control periods after `cause` the robot gets its last command, and the reason is told everywhere."""
        states, told, fault = len(self.states), len(self.told), time.time_ns()
        cause()
        self.act_more()
        self.require_hold(fault)
        self.graph.until(lambda: any(reason in text for text in self.states[states:]), f"{reason!r} in {self.states}")
        self.graph.until(lambda: any(reason in text for text in self.told[told:]), f"{reason!r} on /diagnostics")
        assert self.state.message.startswith("holding: ")

    def require_hold(self, fault: int, tolerated: float = 2 * PERIOD) -> None:
        """The gate's last command came within `tolerated` [s] of `fault` [ns, system time], as the robot saw it."""
        late = [(at - fault) / 1e9 for at in self.commanded if at > fault]
        print(f"last command {max(late, default=0.0):.3f} s after the fault")
        assert not late or max(late) <= tolerated, f"commands {late} s after the fault"

    def call(self, service: str) -> Trigger.Response:
        return self.graph.call(Trigger, f"{self.namespace}/safety_gate/{service}")

    def close(self) -> None:
        for peer in self.peers:
            if peer.poll() is None:
                peer.terminate()
        for peer in self.peers:
            try:
                peer.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self.graph.kill(peer)


@pytest.fixture
def make(graph) -> Iterator[Callable[..., Bench]]:
    """Builds a bench with a gate of its own, for tests that leave it in another state."""
    made: list[Bench] = []

    def build(**parameters: object) -> Bench:
        made.append(Bench(graph, **parameters))
        return made[-1]

    yield build
    for bench in made:
        bench.close()


@pytest.fixture(scope="module")
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    graph_type = request.config.pluginmanager.get_plugin(str(HERE / "conftest.py")).Graph
    graph = graph_type(tmp_path_factory.mktemp("gate"))
    bench = Bench(graph)
    yield bench
    bench.close()
    graph.close()


@pytest.fixture
def bench(shared: Bench) -> Bench:
    """The bench of the tests that leave the gate as it was: at home, the policy acting."""
    shared.reset()
    shared.act_more()
    return shared.acting()


# --- acting --------------------------------------------------------------------------------------------------------------


def test_actions_move_the_robot_and_are_reported_as_sent(bench: Bench):
    before = len(bench.sent)
    bench.action = dict.fromkeys(ENTRIES, 0.0) | {"dx": 0.5, "gripper": 1.0}
    moved: Callable[[], bool] = lambda: len(bench.arm) > 5 and bench.gripper[-1] == pytest.approx(0.8)  # noqa: E731
    bench.graph.until(moved, "motion")
    assert not np.allclose(bench.arm[-1], CONTRACT.joints.home)
    sent = [m for m in bench.sent[before:] if m.header.frame_id == "policy" and m.position[0] == 0.5]
    assert sent and list(sent[0].name) == ENTRIES
    stamps = [(m.header.stamp.sec, m.header.stamp.nanosec) for m in bench.requested]
    assert (sent[0].header.stamp.sec, sent[0].header.stamp.nanosec) in stamps


def test_the_order_of_joint_states_does_not_matter(bench: Bench):
    bench.order.reverse()
    bench.act_more()
    assert bench.state.message == "acting: policy"
    assert bench.arm[-1] == pytest.approx(CONTRACT.joints.home, abs=1e-6)


def test_while_holding_a_zero_action_is_reported_each_period(bench: Bench):
    bench.action = None
    bench.wait("no action from policy")
    bench.sent.clear()
    bench.graph.until(lambda: len(bench.sent) >= 5, "hold messages")
    assert {m.header.frame_id for m in bench.sent} == {"hold"}
    assert all(list(m.position) == [0.0] * 5 for m in bench.sent)
    stamps = [m.header.stamp.sec + m.header.stamp.nanosec * 1e-9 for m in bench.sent]
    assert np.median(np.diff(stamps)) == pytest.approx(0.1, abs=0.05)


def test_the_speed_scale_can_be_changed_while_running(bench: Bench):
    def set_speed(value: object) -> bool:
        request = SetParameters.Request(parameters=[Parameter("speed_scale", value=value).to_parameter_msg()])
        return bool(
            bench.graph.call(SetParameters, f"{bench.namespace}/safety_gate/set_parameters", request)
            .results[0]
            .successful
        )

    def set_two(value: float) -> bool:
        both = [Parameter("speed_scale", value=value), Parameter("action_limit", value=9.0)]
        request = SetParametersAtomically.Request(parameters=[each.to_parameter_msg() for each in both])
        service = f"{bench.namespace}/safety_gate/set_parameters_atomically"
        return bool(bench.graph.call(SetParametersAtomically, service, request).result.successful)

    assert set_speed(0.1)
    assert not any(map(set_speed, (2.0, math.nan, True, "1")))
    assert not set_two(1.0)
    bench.action = dict.fromkeys(ENTRIES, 0.0) | {"dy": 1.0}
    bench.graph.until(lambda: bench.sent and bench.sent[-1].position[1] > 0, "a slowed action")
    assert bench.sent[-1].position[1] == pytest.approx(0.1)


def test_set_points_lie_between_commands(make):
    bench = make(command_rate=50.0).acting()
    bench.action = dict.fromkeys(ENTRIES, 0.0) | {"dx": 0.5}
    bench.graph.until(lambda: len(bench.arm) > 40, "set-points")
    joint = int(np.argmax(np.ptp(np.array(bench.arm[5:40]), axis=0)))
    steps = np.diff(np.array(bench.arm[5:40])[:, joint])
    assert len(bench.arm) > 2 * len([m for m in bench.sent if m.header.frame_id == "policy"])
    assert np.count_nonzero(steps) > 0.7 * len(steps), "the way is shared out among the set-points"


def test_an_inactive_gate_carries_nothing_out_and_begins_where_the_robot_is(make):
    bench = make().acting()
    service = f"{bench.namespace}/safety_gate/change_state"

    def change(number: int) -> None:
        request = ChangeState.Request(transition=Transition(id=number))
        assert bench.graph.call(ChangeState, service, request).success

    bench.holds(lambda: change(Transition.TRANSITION_DEACTIVATE), "the gate is not active")
    commands = len(bench.arm)
    for _ in range(2):  # by hand, too slowly for a jump
        bench.positions["wrist_3_joint"] += 0.09
        bench.act_more()
    assert len(bench.arm) == commands
    change(Transition.TRANSITION_ACTIVATE)
    bench.acting()
    assert bench.arm[commands][5] == pytest.approx(CONTRACT.joints.home[5] + 0.18, abs=0.02)


@pytest.mark.parametrize("wrong", ["nan", "raises"])
def test_a_controller_that_fails_commands_nothing_and_holds(graph, monkeypatch: pytest.MonkeyPatch, wrong: str):
    gate = graph.add(SafetyGate(context=graph.context))
    graph.until(lambda: gate.is_active, "the gate")
    commands: list[object] = []
    monkeypatch.setattr(gate._controllers, "arm", commands.append)
    joints, now = np.array(CONTRACT.joints.home), gate.now()
    gate._safety.joint_states(NAMES, [*joints, 0.0], now, now)
    good = gate._control.step

    def step(*given: object) -> object:
        if wrong == "raises":
            raise RuntimeError("no solution")
        return dataclasses.replace(good(*given), joints=joints * math.nan)

    monkeypatch.setattr(gate._control, "step", step)
    decision = gate._safety.action("policy", ENTRIES, [0.0] * 5, now, now, time.monotonic_ns())
    assert decision.action is not None
    assert gate._command(decision, now) is None and not commands
    gate._safety.joint_states(NAMES, [*joints, 0.0], now, now)
    assert "the controller failed" in gate._safety.state(now, time.monotonic_ns()).text


# --- faults --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [math.nan, math.inf, 1e6])
def test_numbers_that_are_no_action(bench: Bench, value: float):
    bench.holds(lambda: bench.action.update(dz=value), "policy: the action holds dz = ")
    bench.action.update(dz=0.0)
    bench.acting()


def test_entries_of_another_robot(bench: Bench):
    bench.holds(lambda: setattr(bench, "action", {"vx": 0.0, "vy": 0.0}), "the action has entries ['vx', 'vy']")


def test_joint_states_stop(bench: Bench):
    bench.holds(lambda: setattr(bench, "measuring", False), "joint_states is older than 0.1 s")
    bench.measuring = True
    bench.acting()


def test_unknown_joint_names(bench: Bench):
    bench.holds(lambda: setattr(bench, "rename", "left_"), "left_elbow_joint")


def test_the_estop_is_pressed(make):
    bench = make().acting()
    button = bench.node.create_publisher(Bool, "estop", 1)
    bench.graph.until(lambda: button.get_subscription_count() >= 2, "the e-stop's listener")
    down = [True]
    bench.node.create_timer(0.02, lambda: button.publish(Bool(data=down[0])))
    bench.holds(lambda: button.publish(Bool(data=True)), "the e-stop is pressed")
    assert bench.state.level == DiagnosticStatus.ERROR
    assert not bench.call("reset_estop").success
    down[0] = False
    bench.act_more()
    assert bench.state.message.startswith("holding: the e-stop is pressed")
    assert bench.call("reset_estop").success
    bench.acting()


def test_a_second_estop_device(make):
    """One is down and one up, and a message does not say whose it is."""
    bench = make().acting()
    buttons = [bench.node.create_publisher(Bool, "estop", 1) for _ in range(2)]
    timers = [bench.node.create_timer(0.02, lambda b=button: b.publish(Bool(data=False))) for button in buttons]
    bench.wait("2 devices publish on estop")
    commands = len(bench.arm)
    bench.act_more()
    assert len(bench.arm) == commands
    timers[1].cancel()
    bench.node.destroy_publisher(buttons[1])
    bench.acting()


@pytest.mark.parametrize("device", ["estop", "quiet_estop"])
def test_the_publisher_of_the_estop_is_lost(make, device: str):
    bench = make(estop_required=True)
    bench.wait("no e-stop heard yet")
    process = bench.peer(device)

    def acting() -> bool:
        if bench.state.message.startswith("holding: the e-stop"):  # on a busy machine the lease may run out by itself
            bench.call("reset_estop")
        return bench.state.message == "acting: policy"

    bench.graph.until(acting, f"the policy to act; the states were {bench.states}")
    bench.holds(lambda: bench.graph.kill(process), "the e-stop")
    assert bench.state.level == DiagnosticStatus.ERROR
    assert not bench.call("reset_estop").success


def test_the_estop_service(bench: Bench):
    bench.holds(lambda: bench.call("estop"), "stopped by the service")
    assert bench.call("reset_estop").success
    bench.acting()


def test_the_source_is_killed(make):
    bench = make()
    bench.action = None
    bench.wait("holding: ")
    source = bench.peer("source")
    bench.acting()
    killed = time.time_ns()
    bench.graph.kill(source)
    bench.wait("no action from policy for more than 0.2 s")
    bench.graph.spin(0.5)
    bench.require_hold(killed)


def test_a_watched_node_falls_silent(make):
    bench = make(watch=["recorder"])
    bench.wait("recorder has sent no status yet")
    watched = bench.peer("watched")
    bench.acting()
    bench.holds(lambda: bench.graph.kill(watched), "recorder has been silent for more than 0.18 s")


def test_the_gate_says_what_it_did_not_carry_out(bench: Bench):
    bench.action.update(dx=math.nan)
    bench.wait("dx = nan")
    bench.graph.until(lambda: any(math.isnan(m.position[0]) for m in bench.requested), "the request as it came")
    bench.graph.until(lambda: "dx = nan" in bench.diagnostics.message, "the reason on /diagnostics")
    values = {value.key: value.value for value in bench.diagnostics.values}
    assert values["source"] == "hold"
    assert int(values["refused policy"]) > 0


def test_the_clock_jumps_in_simulation(make):
    bench = make(use_sim_time=True)
    bench.simulate()
    bench.acting()
    bench.holds(lambda: bench.set_clock(-50.0), "the clock jumped by -")
    bench.arm.clear()
    bench.late = 0.0  # the policy notices the new time as well
    bench.acting()


def test_another_robot_with_a_trajectory_controller(graph, tmp_path: Path):
    data = runpy.run_path(str(HERE.parent / "control" / "own_arm.py"))["own_contract"](tmp_path)
    data["action"] |= {"topic": "arm/joint_trajectory", "type": "trajectory_msgs/msg/JointTrajectory"}
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(data))
    node, home = graph.node("own"), data["joints"]["home"]
    graph.start("safety_gate", contract=str(tmp_path / "own.yaml"))
    commands: list[JointTrajectory] = []
    node.create_subscription(JointTrajectory, "arm/joint_trajectory", commands.append, 5)
    states = node.create_publisher(JointState, "joint_states", 5)
    actions = node.create_publisher(JointState, "policy/action", 5)
    names = [*data["joints"]["names"], data["gripper"]["joint"]]

    def live() -> None:
        stamp = node.get_clock().now().to_msg()
        for publisher, keys, values in ((states, names, [*home, 0.0]), (actions, ENTRIES, [0.0] * 5)):
            message = JointState(name=keys, position=values)
            message.header.stamp = stamp
            publisher.publish(message)

    node.create_timer(0.05, live)
    graph.until(lambda: commands, "a trajectory")
    assert list(commands[0].joint_names) == data["joints"]["names"]
    assert list(commands[0].points[0].positions) == pytest.approx(home)
    assert commands[0].points[0].time_from_start.nanosec == pytest.approx(5e7)  # one period of 20 Hz


def test_sigterm_ends_the_gate_in_good_order(make):
    bench = make().acting()
    os.kill(bench.gate.pid, signal.SIGTERM)
    assert bench.gate.wait(timeout=20) == 0
    assert "Traceback" not in bench.gate.log.read_text()
