"""A person moves the robot, with a terminal's keyboard or a gamepad, and tells the recorder what to keep."""

from __future__ import annotations

import dataclasses
import os
import signal
import sys
import time
from dataclasses import dataclass
from typing import Any

from diagnostic_msgs.msg import DiagnosticStatus
from sensor_msgs.msg import JointState, Joy
from std_msgs.msg import Bool
from std_srvs.srv import Trigger

from robot_learning.control.rotations import Array
from robot_learning.errors import UserError
from robot_learning.nodes import parameters
from robot_learning.nodes.base import ERROR, OK, WARN, NodeConfig, RobotNode, latched, reliable, sensor
from robot_learning.nodes.running import run
from robot_learning.nodes.teleoperation.gamepad import Gamepad, Mapping
from robot_learning.nodes.teleoperation.keyboard import ESTOP, HELP, KEY_MAP, QUIT, SERVICES, VERDICTS, Keyboard
from robot_learning.nodes.teleoperation.terminal import Terminal

READ = 0.02  # how often keys are read [s]
LOOK = 0.25  # how often calls are looked at [s]
ANSWER = 1.0  # a call without an answer for this long is forgotten: its node may have died [s]
DEVICES = ("keyboard", "gamepad")
PERSON = "person/success"  # what a person says of the task


class TeleopError(UserError, ValueError):
    """A parameter of teleop has a value it cannot work with."""


@dataclass(frozen=True)
class Config(NodeConfig):
    """Parameters of teleoperation. Axes and buttons are counted from 0, as in `ros2 topic echo joy`; -1: none."""

    device: str = "keyboard"
    """What moves the robot: keyboard (of this terminal) or gamepad (sensor_msgs/Joy on the topic joy)."""
    speed: float = 0.5
    """Share of full speed: the keyboard's at first, the gamepad's at full deflection."""
    axes: tuple[int, ...] = (1, 0, 4, 3)
    """Gamepad axes for forward, left, up and turning left; -1: none."""
    axis_signs: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0)
    """1 or -1 for each of `axes`: -1 turns an axis round."""
    deadzone: float = 0.1
    """Deflections of an axis up to this are none."""
    deadman_button: int = 4
    """The robot moves only while this button is down."""
    close_button: int = 0
    """Closes the gripper while it is down, with the deadman button."""
    open_button: int = 1
    """Opens the gripper while it is down, with the deadman button."""
    start_button: int = 7
    """Calls recorder/start."""
    stop_button: int = 6
    """Calls recorder/stop: ends the episode and keeps it."""
    discard_button: int = 2
    """Calls recorder/discard."""
    re_record_button: int = 3
    """Calls recorder/re_record: discards the episode and starts it again."""
    estop_button: int = 8
    """Calls safety_gate/estop."""

    def check(self) -> None:
        """Whether the node can work with these values.

        Raises:
            TeleopError: no such device, no such speed, or not four axes and signs.
        """
        if self.device not in DEVICES:
            raise TeleopError(f"device: expected one of {list(DEVICES)}, found {self.device!r}")
        if not 0.0 < self.speed <= 1.0:
            raise TeleopError(f"speed: expected above 0 and up to 1, found {self.speed}")
        if len(self.axes) != 4 or len(self.axis_signs) != 4:
            raise TeleopError(
                f"axes and axis_signs need 4 entries each (forward, left, up, turn), found {list(self.axes)} and "
                f"{list(self.axis_signs)}"
            )

    def mapping(self) -> Mapping:
        """The gamepad's part."""
        services = {
            self.start_button: "recorder/start",
            self.stop_button: "recorder/stop",
            self.discard_button: "recorder/discard",
            self.re_record_button: "recorder/re_record",
            self.estop_button: ESTOP,
        }
        buttons = {button: service for button, service in services.items() if button >= 0}
        return Mapping(
            self.axes,
            self.axis_signs,
            self.deadman_button,
            self.close_button,
            self.open_button,
            buttons,
            self.deadzone,
        )


class Teleop(RobotNode[Config]):
    """Sends an action each control period while a key or the deadman button is down, and nothing otherwise.

    Silence is how it stops: the safety gate then holds, and hands the robot back to the policy after its override time.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__("teleop", Config, **options)
        self.config.check()
        self._terminal = Terminal()
        self._callable: dict[str, Any] = {}
        self._waiting: dict[str, float] = {}  # service -> when it was called
        self._parts: list[Any] = []

    # --- lifecycle ---------------------------------------------------------------------------------------------------

    def do_configure(self) -> None:
        """Read the parameters and join the graph."""
        self._read_parameters()
        self._keyboard = Keyboard(self.config.speed)
        self._gamepad = Gamepad(self.config.mapping(), self.config.speed)
        self._actions = self.create_publisher(JointState, "teleop/action", reliable(1))
        # for whoever listens to the one who judges, and for the reward node, which then repeats it
        self._verdicts = [self.create_publisher(Bool, topic, reliable(5)) for topic in ("success", PERSON)]
        services = set(SERVICES.values())
        self._callable = {name: self.create_client(Trigger, name) for name in services}
        gate = self.create_subscription(DiagnosticStatus, "safety_gate/state", self._on_gate, latched())
        timers = [self.wall_timer(1.0 / self.contract.rate, self._send), self.wall_timer(LOOK, self._forget)]
        if self.config.device == "gamepad":
            gate_and_device = [gate, self.create_subscription(Joy, "joy", self._on_joy, sensor(5))]
        else:
            gate_and_device = [gate]
            timers.append(self.wall_timer(READ, self._read))
        self._parts = [(self.destroy_subscription, s) for s in gate_and_device]
        self._parts += [(self.destroy_timer, t) for t in timers]
        self._parts += [(self.destroy_client, c) for c in self._callable.values()]
        self._parts += [(self.destroy_publisher, p) for p in (self._actions, *self._verdicts)]

    def do_activate(self) -> None:
        """Take the terminal."""
        if self.config.device == "keyboard":
            self._terminal.open()
            self._say(KEY_MAP)

    def do_deactivate(self) -> None:
        """Release every key, give the terminal back."""
        self._keyboard.release()
        self._terminal.close()

    def do_cleanup(self) -> None:
        """Leave the graph."""
        for destroy, part in self._parts:
            destroy(part)
        self._parts.clear()
        self._waiting.clear()

    def _read_parameters(self) -> None:
        """Parameters may have been set anew since the node was made."""
        specs = [spec for spec in parameters.specs(Config) if spec.name not in ("contract", "autostart")]
        self.config = dataclasses.replace(self.config, **{spec.name: self._value(spec) for spec in specs})
        self.config.check()

    def _value(self, spec: parameters.ParameterSpec) -> Any:
        """A parameter as it is now; ROS lets decimal numbers and lists be set with any type."""
        found = self.get_parameter(spec.name).value
        try:
            if isinstance(spec.default, tuple):
                found, value = tuple(found), tuple(spec.kind.__args__[0](item) for item in found)
            else:
                value = spec.kind(found)
            if value != found:
                raise ValueError
        except (TypeError, ValueError):
            raise TeleopError(f"{spec.name}: expected {spec.type_name}, found {found!r}") from None
        return value

    # --- devices -----------------------------------------------------------------------------------------------------

    def _read(self) -> None:
        if not self.is_active:
            return
        data = self._terminal.read()
        if data is None:
            self._keyboard.release()
            self.report(ERROR, "the terminal is gone")
            self._quit()
            return
        for wish in self._keyboard.feed(data, time.monotonic()):
            if wish == QUIT:
                self._quit()
            elif wish == HELP:
                self._say(KEY_MAP)
            elif wish in VERDICTS.values():
                for publisher in reversed(self._verdicts):
                    publisher.publish(Bool(data=wish == VERDICTS["y"]))
                self._say(wish)
            else:
                self._call(wish)

    def _on_joy(self, message: Joy) -> None:
        for service in self._gamepad.update(message.axes, message.buttons, time.monotonic()):
            self._call(service)
        if self._gamepad.problem:
            self.report(ERROR, self._gamepad.problem)

    def _send(self) -> None:
        if not self.is_active:
            return
        now = time.monotonic()
        device = self._keyboard if self.config.device == "keyboard" else self._gamepad
        action: Array | None = device.action(now)
        if not self._gamepad.problem:
            self.report(OK, "active", moving=action is not None, speed=self._keyboard.speed)
        if action is None:
            return
        message = JointState(name=list(self.contract.action.names), position=action.tolist())
        message.header.stamp, message.header.frame_id = self.get_clock().now().to_msg(), "teleop"
        self._actions.publish(message)
        self.count("actions")

    # --- the rest of the graph ---------------------------------------------------------------------------------------

    def _on_gate(self, status: DiagnosticStatus) -> None:
        if self.config.device == "keyboard" and self.is_active:
            self._say(f"gate: {status.message}")

    def _call(self, service: str) -> None:
        """Call a service without waiting; its answer is shown when it comes. The e-stop is sent whatever is under way."""
        client = self._callable[service]
        ready = client.service_is_ready()
        if not ready:
            self._say(f"{service}: nobody offers it; is the node running?", WARN)
        if service != ESTOP and (not ready or service in self._waiting):
            return
        if ready:
            self._waiting.setdefault(service, time.monotonic())
        client.call_async(Trigger.Request()).add_done_callback(lambda future: self._answered(service, future))

    def _forget(self) -> None:
        """Wait no longer for what may never come; an answer that comes late is shown nevertheless."""
        now = time.monotonic()
        for service, since in list(self._waiting.items()):
            if not self._callable[service].service_is_ready():
                self._say(f"{service}: its node has gone without an answer", WARN)
            elif now - since > ANSWER:
                self._say(f"{service}: no answer; does its node still run?", WARN)
            else:
                continue
            del self._waiting[service]

    def _answered(self, service: str, future: Any) -> None:
        self._waiting.pop(service, None)
        answer = future.result()
        self._say(f"{service}: {answer.message or 'done'}", OK if answer.success else WARN)

    def _say(self, text: str, level: bytes = OK) -> None:
        if self.config.device == "keyboard":
            print(text, flush=True)
        else:
            self._log(level, text)

    def _quit(self) -> None:
        """End this process in good order."""
        os.kill(os.getpid(), signal.SIGTERM)


def main(args: list[str] | None = None) -> int:
    """Run the node `teleop`."""
    return run(Teleop, args)


if __name__ == "__main__":
    sys.exit(main())
