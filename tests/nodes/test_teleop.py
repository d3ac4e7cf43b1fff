"""Teleoperation on the real graph: keys typed into a pseudo-terminal, a gamepad's messages."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import termios
import threading
from collections.abc import Callable, Iterator

import pytest
from rcl_interfaces.msg import Log
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter
from sensor_msgs.msg import JointState, Joy
from std_msgs.msg import Bool
from std_srvs.srv import Trigger

from robot_learning.nodes import teleop

LFLAGS = 3  # the index of the local modes in what tcgetattr returns


class Services:
    """A node that offers services, and at times is deaf: what is asked meanwhile waits for its answer."""

    def __init__(self, graph, *names: str, node: str = "services") -> None:
        self.graph, self.node = graph, graph.node(node)
        self.calls: list[str] = []
        self._offered = [self._offer(name) for name in names]

    def _offer(self, name: str):
        return self.node.create_service(Trigger, name, lambda _, response: self._answer(name, response))

    def _answer(self, name: str, response: Trigger.Response) -> Trigger.Response:
        self.calls.append(name)
        response.success, response.message = True, f"{name} was heard"
        return response

    def deafen(self) -> None:
        self.graph.executor.remove_node(self.node)

    def hear(self) -> None:
        self.graph.executor.add_node(self.node)

    def withdraw(self) -> None:
        for service in self._offered:
            self.node.destroy_service(service)


class Typist:
    """The node `teleop` in a terminal of its own, whose keys the test presses."""

    def __init__(self, graph) -> None:
        self.graph, self.node = graph, graph.node("listener")
        self.actions: list[JointState] = []
        self.node.create_subscription(JointState, "teleop/action", self.actions.append, 10)
        self.services = Services(graph, "recorder/start", "safety_gate/estop")
        self.calls = self.services.calls
        self.master, self.terminal = pty.openpty()
        self.before = termios.tcgetattr(self.terminal)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "robot_learning.nodes.teleop"],
            stdin=self.terminal,
            stdout=self.terminal,
            stderr=self.terminal,
            start_new_session=True,
        )
        self.screen = b""
        self._closed = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)  # a full terminal would stop the node
        self._reader.start()

    def _read(self) -> None:
        waiting = select.poll()  # select.select takes no descriptor above 1023
        waiting.register(self.master, select.POLLIN)
        while not self._closed.is_set():  # a read that waits would keep the terminal open
            if waiting.poll(50):
                self.screen += os.read(self.master, 4096)

    def hang_up(self) -> None:
        """The connection breaks."""
        self._closed.set()
        self._reader.join()
        os.close(self.master)
        os.close(self.terminal)

    def shows(self, text: bytes) -> None:
        self.graph.until(lambda: text in self.screen, f"{text!r} on the terminal; it shows {self.screen!r}")

    def press(self, keys: bytes) -> None:
        os.write(self.master, keys)

    def press_until_called(self, key: bytes, service: str) -> None:
        again = self.node.create_timer(0.5, lambda: self.press(key))  # until teleop has found the service
        self.graph.until(lambda: service in self.calls, f"a call of {service}")
        again.cancel()
        self.shows(f"{service}: {service} was heard".encode())

    @property
    def echoes(self) -> bool:
        return bool(termios.tcgetattr(self.terminal)[LFLAGS] & termios.ECHO)

    def ended(self) -> int:
        self.graph.until(lambda: self.process.poll() is not None, "the end of teleop")
        return int(self.process.returncode)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.graph.kill(self.process)
        if not self._closed.is_set():
            self.hang_up()


@pytest.fixture
def typist(graph) -> Iterator[Typist]:
    typist = Typist(graph)
    typist.shows(b"emergency stop")
    yield typist
    typist.close()


def test_a_key_moves_while_it_repeats_and_stops_when_released(typist: Typist):
    repetition = typist.node.create_timer(0.04, lambda: typist.press(b"w"))
    typist.graph.until(lambda: len(typist.actions) >= 5, "actions")
    message = typist.actions[-1]
    assert message.header.frame_id == "teleop"
    assert dict(zip(message.name, message.position, strict=True))["dx"] == 0.5
    repetition.cancel()
    typist.graph.spin(0.5)
    typist.actions.clear()
    typist.graph.spin(0.5)
    assert typist.actions == []


def test_keys_call_the_recorder_and_the_estop(typist: Typist):
    for key, service in ((b"1", "recorder/start"), (b"x", "safety_gate/estop")):
        typist.press_until_called(key, service)


def test_every_press_of_the_estop_is_sent_while_others_wait_for_their_answer(typist: Typist):
    typist.press_until_called(b"1", "recorder/start")
    typist.press_until_called(b"x", "safety_gate/estop")
    typist.services.deafen()
    typist.calls.clear()
    typist.press(b"1x1x1x")
    typist.shows(b"safety_gate/estop: no answer")
    typist.services.hear()
    typist.graph.until(lambda: typist.calls.count("safety_gate/estop") >= 3, "three calls of the e-stop")
    typist.graph.until(lambda: "recorder/start" in typist.calls, "a call of the recorder")
    assert typist.calls.count("recorder/start") == 1


def test_a_call_that_is_not_answered_is_forgotten(typist: Typist):
    typist.press_until_called(b"1", "recorder/start")
    typist.services.deafen()
    typist.calls.clear()
    typist.press(b"1")
    typist.shows(b"recorder/start: no answer")
    typist.press(b"1")
    typist.graph.until(lambda: typist.screen.count(b"recorder/start: no answer") == 2, "the second call's loss")
    typist.services.hear()
    typist.graph.until(lambda: typist.calls.count("recorder/start") == 2, "both calls")


def test_an_estop_that_nobody_offers_is_said(typist: Typist):
    typist.services.withdraw()
    again = typist.node.create_timer(0.5, lambda: typist.press(b"x"))  # until teleop has found it gone
    typist.shows(b"safety_gate/estop: nobody offers it")
    again.cancel()
    typist.press(b"?")
    typist.graph.until(lambda: typist.screen.count(b"emergency stop") == 2, "that it runs on")


def test_a_key_says_that_the_task_is_done(typist: Typist):
    verdicts: list[bool] = []
    by_a_person: list[bool] = []
    typist.node.create_subscription(Bool, "success", lambda message: verdicts.append(message.data), 10)
    typist.node.create_subscription(Bool, "person/success", lambda message: by_a_person.append(message.data), 10)
    typist.shows(b"recorder: 1 start")
    for key, verdict in ((b"n", False), (b"y", True)):
        # again and again: the first may come before the topic's two ends have met
        typist.graph.until(
            lambda k=key, v=verdict: typist.press(k) or verdicts[-1:] == by_a_person[-1:] == [v],
            f"the verdict {verdict}",
        )


def test_a_service_that_nobody_offers_is_said(typist: Typist):
    typist.press(b"5")
    typist.shows(b"recorder/discard: nobody offers it")


@pytest.mark.parametrize("end", ["ctrl-c", "ctrl-d", "sigterm"])
def test_the_terminal_is_given_back(typist: Typist, end: str):
    assert not typist.echoes
    if end == "ctrl-d":
        typist.press(b"\x04")
    else:
        typist.process.send_signal(signal.SIGINT if end == "ctrl-c" else signal.SIGTERM)
    assert typist.ended() == 0
    assert termios.tcgetattr(typist.terminal) == typist.before
    assert b"Traceback" not in typist.screen


def test_the_loss_of_the_terminal_ends_it(typist: Typist):
    typist.press(b" ")  # holding still: it sends without keys
    typist.graph.until(lambda: typist.actions, "actions")
    typist.hang_up()
    typist.ended()
    typist.actions.clear()
    typist.graph.spin(0.3)
    assert typist.actions == []


def test_without_a_terminal_the_keyboard_is_refused(graph):
    graph.node("any")
    process = graph.start("teleop")
    graph.until(lambda: "the keyboard needs a terminal" in process.log.read_text(), "the reason")


class Pad:
    """The node `teleop` in this process, and a gamepad whose buttons the test presses."""

    def __init__(self, graph, **overrides: object) -> None:
        self.graph, self.node = graph, graph.node("driver")
        self.actions: list[JointState] = []
        self.log = ""
        self.down: set[int] = set()
        self.node.create_subscription(JointState, "teleop/action", self.actions.append, 10)
        self.node.create_subscription(Log, "/rosout", self._on_log, 50)
        self._joy = self.node.create_publisher(Joy, "joy", 5)
        given = [Parameter(name, value=value) for name, value in overrides.items()]
        self.teleop = graph.add(teleop.Teleop(context=graph.context, parameter_overrides=given))

    def _on_log(self, message: Log) -> None:
        self.log += f"{message.msg}\n"

    def send(self, *axes: float) -> None:
        self._joy.publish(Joy(axes=axes or (0.0,) * 6, buttons=[int(i in self.down) for i in range(11)]))

    def press_until(self, button: int, condition: Callable[[], object], what: str) -> None:
        """Press and release a button again and again: the first may come before teleop has found the service."""

        def alternate() -> None:
            self.down ^= {button}
            self.send()

        again = self.node.create_timer(0.05, alternate)
        self.graph.until(condition, what)
        again.cancel()
        self.down.clear()


def test_a_call_to_a_service_that_has_gone_is_forgotten(graph, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(teleop, "ANSWER", 1e6)  # [s]
    recorder = Services(graph, "recorder/start", node="recorder")
    gate = Services(graph, "safety_gate/estop", node="safety_gate")
    pad = Pad(graph, device="gamepad")
    pad.press_until(7, lambda: "recorder/start was heard" in pad.log, "the recorder's answer")
    pad.press_until(8, lambda: "safety_gate/estop was heard" in pad.log, "the gate's answer")
    recorder.deafen()
    gate.calls.clear()
    pad.send()
    pad.down = {7, 8}
    graph.until(lambda: pad.send() or gate.calls, "the e-stop, which is called after the recorder")
    recorder.withdraw()
    graph.until(lambda: "recorder/start: its node has gone" in pad.log, "that the recorder has gone")
    restarted = Services(graph, "recorder/start", node="restarted")
    pad.press_until(7, lambda: restarted.calls, "a call of the recorder that was started again")


def test_what_is_set_before_configure_is_in_force(graph):
    pad = Pad(graph, autostart=False)
    changes = {"device": "gamepad", "deadman_button": 5, "axes": [2, -1, -1, -1], "speed": 1}
    assert all(
        result.successful for result in pad.teleop.set_parameters([Parameter(n, value=v) for n, v in changes.items()])
    )
    assert pad.teleop.trigger_configure() == pad.teleop.trigger_activate() == TransitionCallbackReturn.SUCCESS
    pad.down = {5}
    graph.until(lambda: pad.send(0.0, 0.0, 1.0, 0.7) or pad.actions, "actions")
    assert pad.actions[-1].position.tolist() == [1.0, 0.0, 0.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("device", "feet"),
        ("speed", 1.5),
        ("speed", "fast"),
        ("axes", [1, 2]),
        ("axes", [0.5, 1.0, 2.0, 3.0]),
        ("axes", "all"),
    ],
)
def test_a_wrong_value_that_is_set_before_configure_is_refused(graph, name: str, value: object):
    pad = Pad(graph, autostart=False, device="gamepad")
    assert pad.teleop.set_parameters([Parameter(name, value=value)])[0].successful
    assert pad.teleop.trigger_configure() == TransitionCallbackReturn.FAILURE
    assert pad.teleop.status().message.startswith(f"cannot configure: {name}")


def test_a_gamepad_moves_only_with_its_deadman_button(graph):
    node = graph.node("driver")
    actions: list[JointState] = []
    node.create_subscription(JointState, "teleop/action", actions.append, 10)
    joy = node.create_publisher(Joy, "joy", 5)
    down: list[int] = []
    node.create_timer(
        0.05, lambda: joy.publish(Joy(axes=[0.0, 1.0, 0.0, 0.0, 0.0, 0.0], buttons=[int(i in down) for i in range(11)]))
    )
    graph.start("teleop", device="gamepad", speed=1.0)
    graph.until(lambda: joy.get_subscription_count() > 0, "teleop")
    graph.spin(0.3)
    assert actions == []
    down.append(4)
    graph.until(lambda: len(actions) > 3, "actions")
    assert list(actions[-1].position) == [1.0, 0.0, 0.0, 0.0, 0.0]
    down.clear()
    graph.spin(0.3)
    actions.clear()
    graph.spin(0.4)
    assert actions == []
