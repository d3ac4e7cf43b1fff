"""The only writer to the controllers: carries out the actions of the highest source, within every limit, or holds."""

from __future__ import annotations

import sys
import time
import traceback
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus, KeyValue
from rcl_interfaces.msg import SetParametersResult
from sensor_msgs.msg import JointState

from robot_learning.contract import STATE
from robot_learning.control.motion import Motion, MotionControl
from robot_learning.control.safety import Decision, Safety, SafetyError, SafetyLimits, State, require_speed_scale
from robot_learning.control.setpoints import LinearSetpoints
from robot_learning.nodes.base import (
    ERROR,
    OK,
    SECOND,
    WARN,
    NodeConfig,
    RobotNode,
    latched,
    ns_to_stamp,
    reliable,
    sensor,
    stamp_to_ns,
)
from robot_learning.nodes.controllers import Controllers
from robot_learning.nodes.estop import EstopListener
from robot_learning.nodes.running import run

CHECKS = 5  # times each control period: how soon silence is noticed
POLL = 0.1  # how often the graph is asked for other writers and the e-stop's publisher [s]
HOLD = "hold"  # the source of what is sent while holding


@dataclass(frozen=True)
class Config(SafetyLimits, NodeConfig):
    """Parameters of the safety gate."""

    command_rate: float = 0.0
    """Set-points a second on the way to a command, for arm controllers that do not interpolate [Hz]; 0: one per action."""


class SafetyGate(RobotNode[Config]):
    """Judges each action as it comes and commands the robot at once; says why whenever it does not."""

    def __init__(self, **options: Any) -> None:
        super().__init__("safety_gate", Config, **options)
        self._safety = Safety(self.contract, self.config)
        self._period = round(SECOND / self.contract.rate)
        self._sent_at = 0
        self._shown: tuple[bytes, str] | None = None
        self._parts: list[Any] = []
        self._state = self.create_publisher_plain(DiagnosticStatus, "~/state", latched())
        self.trigger_service("estop", self._press)
        self.trigger_service("reset_estop", self._reset)
        self.on_time_jump(self._clock_jumped)
        self.add_on_set_parameters_callback(self._set_parameters)

    # --- lifecycle ---------------------------------------------------------------------------------------------------

    def do_configure(self) -> None:
        """Build the kinematics, join the graph."""
        self._control = MotionControl(self.contract)
        self._control.warm_up()
        self._setpoints = LinearSetpoints(self.contract) if self.config.command_rate > 0 else None
        horizon = 1.0 / (self.config.command_rate if self._setpoints else self.contract.rate)
        self._controllers = Controllers(self, self.contract, horizon, self._safety.writers, self._another_writer)
        self._estop = EstopListener(self, self._safety.estop)
        self._requested = self.create_publisher(JointState, "~/action_requested", reliable(5))
        self._sent = self.create_publisher(JointState, "~/action_sent", reliable(5))
        subscriptions = [
            self.create_subscription(
                JointState, self.contract.observation[STATE].topic, self._on_joint_states, sensor(5)
            )
        ]
        for source in self.config.sources:
            answer = partial(self._on_action, source)
            subscriptions.append(self.create_subscription(JointState, f"{source}/action", answer, reliable(5)))
        for name in self.config.watch:
            note = partial(self._on_status, name)
            subscriptions.append(self.create_subscription(DiagnosticStatus, f"{name}/status", note, reliable(5)))
        timers = [
            self.wall_timer(1.0 / (CHECKS * self.contract.rate), self._check),
            self.wall_timer(POLL, self._poll),
        ]
        if self.get_parameter("use_sim_time").value:  # simulated time may run faster than the wall's
            timers.append(self.create_timer(0.5 / self.contract.rate, self._check))
        if self._setpoints:
            timers.append(self.create_timer(1.0 / self.config.command_rate, self._ramp))
        self._parts = [(self.destroy_subscription, s) for s in subscriptions]
        self._parts += [(self.destroy_timer, t) for t in timers]
        self._parts += [(self.destroy_publisher, p) for p in (self._requested, self._sent)]
        self._show_inactive()

    def do_activate(self) -> None:
        """Let actions through from now on; what was sent before is not carried out."""
        self._safety.stop("the gate was not active", self.now())
        self._poll()
        self._show(self._safety.state(self.now(), time.monotonic_ns()))

    def do_deactivate(self) -> None:
        """Hold."""
        if self._setpoints:
            self._setpoints.stop(self.now())
        self._show_inactive()

    def do_cleanup(self) -> None:
        """Leave the graph."""
        for destroy, part in self._parts:
            destroy(part)
        self._parts.clear()
        if hasattr(self, "_controllers"):
            self._controllers.destroy()
            self._estop.destroy()

    # --- what comes in -----------------------------------------------------------------------------------------------

    def _on_joint_states(self, message: JointState) -> None:
        self._safety.joint_states(message.name, message.position, stamp_to_ns(message.header.stamp), self.now())

    def _on_status(self, name: str, message: DiagnosticStatus) -> None:
        self._safety.nodes.update(name, message.level[0], message.message, time.monotonic_ns())

    def _on_action(self, source: str, message: JointState) -> None:
        if not self.is_active:
            return
        now, stamp = self.now(), stamp_to_ns(message.header.stamp)
        decision = self._safety.action(source, message.name, message.position, stamp, now, time.monotonic_ns())
        motion = self._command(decision, now)
        self._publish(self._requested, source, stamp or now, message.position, message.name)
        if motion is not None:
            self._publish(self._sent, source, stamp or now, motion.sent.tolist())
            self._sent_at = now
        self._check()

    def _command(self, decision: Decision, now: int) -> Motion | None:
        """Carry the action out, if it may be."""
        if decision.action is None:
            return None
        measured = self._safety.joints.joints
        try:
            motion = self._control.step(
                decision.action,
                measured,
                self._safety.joints.gripper,
                decision.resumed,
                decision.restart,
                self._safety.speed_scale,
            )
        except Exception as error:  # whatever a solver may raise: the robot holds, and it is said why
            self.get_logger().error(traceback.format_exc())
            self._safety.stop(f"the controller failed: {error}", now)
            return None
        if not np.isfinite([*motion.joints, motion.gripper, *motion.sent]).all():
            self._safety.stop(f"the controller failed: it wants {motion.joints}, gripper {motion.gripper}", now)
            return None
        if self._setpoints is None:
            self._controllers.arm(motion.joints)
        else:
            if motion.restarted:
                self._setpoints.restart(measured)
            self._setpoints.target(motion.joints, now)
        self._controllers.gripper(motion.gripper)
        for clamp in (*decision.clamps, *motion.clamps):
            self.count(f"clamp {clamp}")
        if motion.restarted:
            self.count("restarts at the measured joints")
        return motion

    def _ramp(self) -> None:
        """The next set-point of a line that is not finished."""
        if self._setpoints and self._setpoints.moving and self.is_active:
            self._controllers.arm(self._setpoints.at(self.now()))

    # --- what is watched ---------------------------------------------------------------------------------------------

    def _poll(self) -> None:
        self._estop.poll()
        self._controllers.poll()

    def _another_writer(self) -> None:
        """The middleware says that writers came or went, or a command was heard that is not the gate's."""
        self._controllers.poll()
        self._check()

    def _check(self) -> None:
        """Show the state; while holding, say once a control period that nothing is commanded."""
        if not self.is_active:
            return
        now = self.now()
        state = self._safety.state(now, time.monotonic_ns())
        self._show(state)
        if state.hold is None:
            return
        if self._setpoints:
            self._setpoints.stop(now)
        if not 0 <= now - self._sent_at < self._period:
            due = self._sent_at + self._period
            self._sent_at = due if 0 <= now - due < self._period else now  # keeps the beat
            self._publish(self._sent, HOLD, now, [0.0] * len(self.contract.action.names))

    def _clock_jumped(self, seconds: float) -> None:
        self._safety.clock_jumped(seconds, self.now())
        self._sent_at = 0
        if self._parts:
            self._check()

    # --- services and parameters -------------------------------------------------------------------------------------

    def _press(self) -> str:
        self._safety.estop.press("stopped by the service safety_gate/estop")
        self._check()
        return "the robot holds; call reset_estop to go on"

    def _reset(self) -> str:
        self._safety.estop.reset(time.monotonic_ns())
        self._check()
        return "reset: the next action is carried out"

    def _set_parameters(self, parameters: list[Any]) -> SetParametersResult:
        """All or nothing: of a request that is refused nothing is in force."""
        speed = self._safety.speed_scale
        for parameter in parameters:
            if parameter.name in {field.name for field in fields(Config)} - {"speed_scale"}:
                return SetParametersResult(
                    successful=False,
                    reason=f"{parameter.name} is read when the gate starts: start it anew with the value",
                )
            if parameter.name == "speed_scale":
                value = parameter.value
                if isinstance(value, bool) or not isinstance(value, int | float):
                    return SetParametersResult(
                        successful=False, reason=f"speed_scale: expected a number from 0 to 1, found {value!r}"
                    )
                try:
                    speed = require_speed_scale(float(value))
                except SafetyError as error:
                    return SetParametersResult(successful=False, reason=str(error))
        self._safety.speed_scale = speed
        return SetParametersResult(successful=True)

    # --- what goes out -----------------------------------------------------------------------------------------------

    def _publish(self, publisher: Any, source: str, stamp: int, values: Any, names: Any = None) -> None:
        message = JointState(name=list(self.contract.action.names) if names is None else names, position=values)
        message.header.stamp, message.header.frame_id = ns_to_stamp(stamp), source
        publisher.publish(message)

    def _show_inactive(self) -> None:
        self._show_text(WARN, "holding: the gate is not active")

    def _show(self, state: State) -> None:
        level = OK if state.hold is None else ERROR if state.hold.latched else WARN
        self._show_text(level, state.text, state.source or HOLD)

    def _show_text(self, level: bytes, text: str, source: str = HOLD) -> None:
        if (level, text) != self._shown:
            self._shown = (level, text)
            status = DiagnosticStatus(level=level, name=self.get_fully_qualified_name(), message=text)
            status.hardware_id = self.contract.name
            counts = {**self._safety.counts, **self.counts}
            status.values = [KeyValue(key=key, value=str(value)) for key, value in counts.items()]
            self._state.publish(status)
        self.report(level, text, source=source, speed_scale=self._safety.speed_scale, **self._safety.counts)


def main(args: list[str] | None = None) -> int:
    """Run the node `safety_gate`."""
    return run(SafetyGate, args)


if __name__ == "__main__":
    sys.exit(main())
