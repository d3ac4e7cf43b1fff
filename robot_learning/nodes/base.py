"""RobotNode: what every node of this package has: a contract, parameters from a dataclass, health reports, lifecycle, time."""

from __future__ import annotations

import gc
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.clock import Clock, ClockType, JumpThreshold
from rclpy.duration import Duration
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from std_srvs.srv import Trigger

from robot_learning.contract import Contract
from robot_learning.errors import UserError
from robot_learning.nodes import parameters
from robot_learning.nodes.system_clock import SystemClock

OK, WARN, ERROR, STALE = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR, DiagnosticStatus.STALE
FORWARD_JUMP = 1.0  # a clock that skips further than this was set or restarted [s]
SECOND = 1_000_000_000  # [ns]


def reliable(depth: int = 1) -> QoSProfile:
    """For commands, actions and whatever else must arrive."""
    return QoSProfile(depth=depth, history=HistoryPolicy.KEEP_LAST, reliability=ReliabilityPolicy.RELIABLE)


def latched() -> QoSProfile:
    """For states and settings: a late subscriber gets the last message."""
    profile = reliable(1)
    profile.durability = DurabilityPolicy.TRANSIENT_LOCAL
    return profile


def sensor(depth: int = 5) -> QoSProfile:
    """For subscriptions to sensors: matches reliable and best-effort publishers alike (REP 2003)."""
    return QoSProfile(depth=depth, history=HistoryPolicy.KEEP_LAST, reliability=ReliabilityPolicy.BEST_EFFORT)


def stamp_to_ns(stamp: Any) -> int:
    """A `builtin_interfaces/Time` in nanoseconds."""
    return int(stamp.sec) * SECOND + int(stamp.nanosec)


def ns_to_stamp(ns: int) -> Any:
    """Nanoseconds as a `builtin_interfaces/Time`."""
    from builtin_interfaces.msg import Time

    return Time(sec=ns // SECOND, nanosec=ns % SECOND)


@dataclass(frozen=True)
class NodeConfig:
    """The parameters every node has."""

    contract: str = "ur5e_2f85"
    """Name in config/contracts/ or YAML file of the robot's contract."""
    autostart: bool = True
    """Configure and activate by itself; false leaves the transitions to a lifecycle manager."""


C = TypeVar("C", bound=NodeConfig)


class RobotNode(LifecycleNode, Generic[C]):
    """A lifecycle node with a contract.

    Subclasses do their work in `do_configure`, `do_activate`, `do_deactivate` and `do_cleanup`, and raise a `UserError` when
    they cannot: its text is logged and reported, and the transition fails. Health goes out as a `DiagnosticStatus` on
    `~/status` at the contract's rate (the safety gate watches it) and on `/diagnostics` at 1 Hz and at every change.

    Raises:
        ParameterError, ContractError: a parameter or the contract is wrong.
    """

    config: C

    def __init__(self, name: str, config_type: type[C], **options: Any) -> None:
        super().__init__(name, **options)
        self.config = parameters.declare(self, config_type)
        self.contract = Contract.load(self.config.contract)
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._level, self._message = OK, "starting"
        self._values: dict[str, object] = {}
        self._counts: dict[str, int] = {}
        self._machine = SystemClock(FORWARD_JUMP)
        self._jump_handlers: list[Callable[[float], None]] = []
        self._heartbeat = self.create_publisher_plain(DiagnosticStatus, "~/status", reliable(5))
        self._diagnostics = self.create_publisher_plain(DiagnosticArray, "/diagnostics", reliable(10))
        self.wall_timer(1.0 / self.contract.rate, self._beat)
        self.wall_timer(1.0, self._diagnose)
        threshold = JumpThreshold(
            min_forward=Duration(seconds=FORWARD_JUMP), min_backward=Duration(nanoseconds=-1), on_clock_change=False
        )
        self._jump = self.get_clock().create_jump_callback(threshold, post_callback=self._jumped)
        if self.config.autostart:
            self._starter = self.wall_timer(0.0, self._start)

    # --- time --------------------------------------------------------------------------------------------------------

    def now(self) -> int:
        """The node's clock [ns]: simulated time where `use_sim_time` is set."""
        return int(self.get_clock().now().nanoseconds)

    def wall_timer(self, period: float, callback: Callable[[], None]) -> Any:
        """A timer on the steady clock [s], which simulated time does not stop."""
        return self.create_timer(period, callback, clock=self._steady)

    def on_time_jump(self, handler: Callable[[float], None]) -> None:
        """Call `handler(seconds)` when the clock goes back, or forward by more than a second."""
        self._jump_handlers.append(handler)

    def _jumped(self, jump: Any) -> None:
        delta = jump["delta"] if isinstance(jump, dict) else jump.delta.nanoseconds
        self._clock_was_set(float(delta) / SECOND)

    def _clock_was_set(self, seconds: float) -> None:
        self.get_logger().warning(f"the clock jumped by {seconds:+.3f} s")
        self.count("clock jumps")
        for handler in self._jump_handlers:
            handler(seconds)

    # --- health ------------------------------------------------------------------------------------------------------

    def report(self, level: bytes, message: str, **values: object) -> None:
        """Say how this node is: `level` OK, WARN, ERROR or STALE, and why; `values` stay until reported anew."""
        self._values.update(values)
        if (level, message) != (self._level, self._message):
            self._level, self._message = level, message
            self._log(level, message)
            self._beat()
            self._diagnose()

    def count(self, name: str, n: int = 1) -> None:
        """Add to a counter that the status shows."""
        self._counts[name] = self._counts.get(name, 0) + n

    @property
    def counts(self) -> dict[str, int]:
        """The counters so far."""
        return dict(self._counts)

    def _log(self, level: bytes, message: str) -> None:
        logger = self.get_logger()  # one line per severity: rclpy forbids one call site to change its severity
        if level == OK:
            logger.info(message)
        elif level == WARN:
            logger.warning(message)
        else:
            logger.error(message)

    def status(self) -> DiagnosticStatus:
        """Level, message, values and counters as a message."""
        shown = {**self._values, **self._counts}
        return DiagnosticStatus(
            level=self._level,
            name=self.get_fully_qualified_name(),
            message=self._message,
            hardware_id=self.contract.name,
            values=[KeyValue(key=key, value=_text(value)) for key, value in shown.items()],
        )

    def _beat(self) -> None:
        shift = self._machine.shift()
        if shift and not self.get_parameter("use_sim_time").value:
            self._clock_was_set(shift)
        self._heartbeat.publish(self.status())

    def _diagnose(self) -> None:
        array = DiagnosticArray(status=[self.status()])
        array.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(array)

    # --- communication -----------------------------------------------------------------------------------------------

    def create_publisher_plain(self, kind: Any, topic: str, qos: QoSProfile) -> Any:
        """A publisher that also speaks while the node is inactive (a lifecycle publisher would keep silent)."""
        from rclpy.node import Node

        return Node.create_publisher(self, kind, topic, qos)

    def trigger_service(self, name: str, handler: Callable[[], str]) -> Any:
        """A `std_srvs/Trigger` service `~/name`; the handler's text, or that of its `UserError`, is the answer."""

        def answer(_: Any, response: Any) -> Any:
            try:
                response.success, response.message = True, handler()
            except UserError as error:
                response.success, response.message = False, str(error)
                self.get_logger().warning(f"{name}: {error}")
            return response

        return self.create_service(Trigger, f"~/{name}", answer)

    # --- lifecycle ---------------------------------------------------------------------------------------------------

    def do_configure(self) -> None:
        """Load models, open devices, create publishers and subscriptions."""

    def do_activate(self) -> None:
        """Start acting."""

    def do_deactivate(self) -> None:
        """Stop acting; what is in progress is finished or given up in good order."""

    def do_cleanup(self) -> None:
        """Free what `do_configure` made."""

    @property
    def is_active(self) -> bool:
        """Whether the node is in the lifecycle state `active`."""
        return str(self._state_machine.current_state[1]) == "active"

    def _start(self) -> None:
        self._starter.cancel()
        if self.trigger_configure() == TransitionCallbackReturn.SUCCESS:
            self.trigger_activate()

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """See `do_configure`."""
        return self._transition("configure", self.do_configure, "configured")

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """See `do_activate`."""
        super().on_activate(state)
        gc.collect()
        gc.freeze()  # what is here now stays: a collection among torch's and MuJoCo's objects takes tens of milliseconds
        return self._transition("activate", self.do_activate, "active")

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """See `do_deactivate`."""
        result = self._transition("deactivate", self.do_deactivate, "inactive")
        super().on_deactivate(state)
        return result

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """See `do_cleanup`."""
        return self._transition("clean up", self.do_cleanup, "unconfigured")

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Deactivate and clean up."""
        if state.label == "active":
            self._transition("deactivate", self.do_deactivate, "inactive")
        return self._transition("shut down", self.do_cleanup, "shut down")

    def _transition(self, verb: str, work: Callable[[], None], done: str) -> TransitionCallbackReturn:
        before = (self._level, self._message)
        try:
            work()
        except UserError as error:
            self.report(ERROR, f"cannot {verb}: {error}")
            return TransitionCallbackReturn.FAILURE
        except Exception:
            self.get_logger().error(traceback.format_exc())
            self.report(ERROR, f"cannot {verb}: an unexpected error, see the log above")
            return TransitionCallbackReturn.FAILURE
        if (self._level, self._message) == before:  # the work itself had nothing to say
            self.report(OK, done)
        return TransitionCallbackReturn.SUCCESS


def _text(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
