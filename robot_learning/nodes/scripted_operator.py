"""scripted_operator: the scripted demonstrator as a teleoperator of the simulated robot, with the recorder in its hand."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray, String

from robot_learning.data.episode_recorder import NOT_OPEN
from robot_learning.envs.demonstrator import Demonstrator, DemonstratorConfig
from robot_learning.envs.mirror import Mirror
from robot_learning.envs.tasks import Task
from robot_learning.envs.tasks import task as task_named
from robot_learning.errors import UserError
from robot_learning.nodes.base import ERROR, OK, SECOND, WARN, NodeConfig, RobotNode, latched, ns_to_stamp, reliable
from robot_learning.nodes.running import run_to_end
from robot_learning.nodes.service_calls import ServiceError, TriggerCaller

SOURCE = "teleop"
LINGER = 5  # ticks an episode goes on after success, as in the demonstrations made in one process
ATTEMPTS = 10  # without success in a row before giving up
RETRY = 0.2  # between two attempts to start an episode [s, wall]
HEALTH_PERIOD = 0.2  # [s, wall]


class OperatorError(UserError, RuntimeError):
    """The operator cannot go on."""


class Stopped(Exception):
    """The node was asked to stop."""


@dataclass(frozen=True)
class Config(NodeConfig):
    """Parameters of scripted_operator."""

    tasks: tuple[str, ...] = ("open_drawer",)
    """Names of the playroom's tasks to demonstrate, one after the other."""
    episodes: int = 10
    """Successful demonstrations of each task."""
    failures: int = 0
    """Attempts at each task that fail on purpose, after these; a reward model learns from them what is no success."""
    seed: int = 0
    """Seed of the operator's ways, speeds and shakes; that of the room belongs to sim_robot."""
    max_ticks: int = 150
    """Control ticks after which an attempt has failed."""
    record: bool = True
    """Start the recorder at each attempt, save what succeeds and discard what fails; false: only move the robot."""
    recorder: str = "recorder"
    """Name of the recorder's node."""
    simulation: str = "sim_robot"
    """Name of the simulated robot's node."""
    patience: float = 30.0
    """Longest wait for a service, the simulation or the safety gate [s, wall]."""
    exit_when_done: bool = True
    """End the process after the last episode; false: stay, and do nothing more."""


class ScriptedOperator(RobotNode[Config]):
    """Reads the simulation's state, acts on `teleop/action` through the safety gate like a person's device.

    The episodes run in a thread of their own, which may wait for services and for time to go on.
    """

    def __init__(self) -> None:
        super().__init__("scripted_operator", Config)
        self.failed = False
        self._stop = threading.Event()
        self._progress: tuple[bytes, str] = (OK, "waiting for the simulation")
        self._changed = threading.Condition()
        self._states: deque[np.ndarray] = deque(maxlen=1)
        self._gate: DiagnosticStatus | None = None
        self._saved = self._discarded = 0

    # --- lifecycle ---------------------------------------------------------------------------------------------------

    def do_configure(self) -> None:
        """Build the mirror of the playroom and join the graph."""
        config = self.config
        self._tasks = [task_named(name) for name in config.tasks]
        self._mirror = Mirror(self.contract)
        self._action = self.create_publisher(JointState, f"{SOURCE}/action", reliable(1))
        self._task_topic = self.create_publisher_plain(String, "task", latched())
        self._reset_room = TriggerCaller(self, f"{config.simulation}/reset")
        self._recorder = {
            name: TriggerCaller(self, f"{config.recorder}/{name}") for name in ("start", "stop", "discard")
        }
        self._inputs = [
            self.create_subscription(Float64MultiArray, f"{config.simulation}/state", self._on_state, reliable(1)),
            self.create_subscription(DiagnosticStatus, "safety_gate/state", self._on_gate, latched()),
        ]
        self._health = self.wall_timer(HEALTH_PERIOD, self._report_progress)

    def do_activate(self) -> None:
        """Begin with the episodes."""
        self._stop.clear()
        self._thread = threading.Thread(target=self._run, name="operator", daemon=True)
        self._thread.start()

    def do_deactivate(self) -> None:
        """Let go of the robot; an episode in progress is discarded."""
        self._stop.set()
        with self._changed:
            self._changed.notify_all()
        self._thread.join(1.0)

    def do_cleanup(self) -> None:
        """Leave the graph."""
        if not hasattr(self, "_health"):
            return
        self.destroy_timer(self._health)
        for subscription in self._inputs:
            self.destroy_subscription(subscription)
        for publisher in (self._action, self._task_topic):
            self.destroy_publisher(publisher)
        for caller in (self._reset_room, *self._recorder.values()):
            caller.destroy()

    # --- what the graph says ---------------------------------------------------------------------------------------------

    def _on_state(self, message: Float64MultiArray) -> None:
        with self._changed:
            self._states.append(np.array(message.data))
            self._changed.notify_all()

    def _on_gate(self, message: DiagnosticStatus) -> None:
        with self._changed:
            self._gate = message
            self._changed.notify_all()

    def _next_state(self) -> int:
        """Show the next state of the simulation in the mirror; its time [ns]."""
        self._states.clear()
        self._wait(lambda: bool(self._states), f"{self.config.simulation}/state; is the simulation running?")
        state = self._states[-1]
        self._mirror.show(state)
        return round(float(state[0]) * SECOND)

    def _wait_for_gate(self) -> None:
        self._wait(
            lambda: self._gate is not None and self._gate.level != DiagnosticStatus.ERROR,
            "the safety gate to be ready; is it running, and the e-stop released?",
        )

    def _wait(self, condition: Callable[[], bool], what: str) -> None:
        with self._changed:
            met = self._changed.wait_for(lambda: self._stop.is_set() or condition(), self.config.patience)
        if self._stop.is_set():
            raise Stopped
        if not met:
            raise OperatorError(f"waited {self.config.patience:g} s for {what}")

    # --- episodes, in a thread of their own ------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            for task in self._tasks:
                self._demonstrate(task, True, self.config.episodes)
                self._demonstrate(task, False, self.config.failures)
            self._progress = (OK, f"done: {self._saved} episodes saved, {self._discarded} discarded")
        except Stopped:
            return
        except UserError as error:
            self.failed, self._progress = True, (ERROR, str(error))
        except Exception as error:
            self.get_logger().error(traceback.format_exc())
            self.failed, self._progress = True, (ERROR, f"an unexpected error, see the log above: {error}")
        if self.config.exit_when_done:
            self._report_progress()
            os.kill(os.getpid(), signal.SIGTERM)

    def _demonstrate(self, task: Task, wanted: bool, episodes: int) -> None:
        saved = otherwise = 0
        kind = "episode" if wanted else "failure on purpose"
        while saved < episodes:
            self._progress = (OK, f"{task.name}: {kind} {saved + 1} of {episodes}")
            if self._attempt(task, wanted):
                saved, otherwise = saved + 1, 0
            else:
                otherwise += 1
            if otherwise == ATTEMPTS:
                wish = "success" if wanted else "failure on purpose"
                raise OperatorError(f"{task.name}: no {wish} in {ATTEMPTS} attempts in a row; what does the gate say?")

    def _attempt(self, task: Task, wanted: bool) -> bool:
        """One episode, kept if it ends as wanted; whether it did."""
        self._prepare(task)
        rng = np.random.default_rng((self.config.seed, self._saved, self._discarded))
        config = DemonstratorConfig() if wanted else DemonstratorConfig(failure_rate=1.0)
        demonstrator = Demonstrator(self._mirror.room, rng, config)
        if self.config.record:
            self._start_recording(task)
        try:
            kept = self._act(task, demonstrator) == wanted
        except BaseException:
            if self.config.record:
                self._recorder["discard"].send()
            raise
        if self.config.record:
            kept = self._end_recording(task, kept)
        self._saved += int(kept)
        self._discarded += int(not kept)
        return kept

    def _prepare(self, task: Task) -> None:
        """Furnish the room for the task; the reset's answer says for which it did, as the topic may come after the call."""
        self._task_topic.publish(String(data=task.instruction))
        for _ in range(ATTEMPTS):
            if self._reset_room(self.config.patience).startswith(task.name):
                self._wait_for_gate()
                return
            self._next_state()
        raise OperatorError(
            f"{self.config.simulation} does not take the task {task.instruction!r} from the topic `task`"
        )

    def _start_recording(self, task: Task) -> None:
        """Start an episode of this task; topic and clock may reach the recorder after the call, which its answer shows."""
        deadline = time.monotonic() + self.config.patience
        while True:
            try:
                if self._recorder["start"](self.config.patience).endswith(f": {task.instruction}"):
                    return
                self._recorder["discard"](self.config.patience)
            except ServiceError as error:
                not_yet = any(reason in str(error) for reason in ("no task", "no time yet"))
                if not not_yet or time.monotonic() > deadline:
                    raise
            if time.monotonic() > deadline or self._stop.wait(RETRY):
                raise OperatorError(
                    f"{self.config.recorder} does not take the task {task.instruction!r} from the topic `task`"
                )

    def _end_recording(self, task: Task, kept: bool) -> bool:
        """Keep or discard the episode; whether it was kept whole. One that the recorder has ended by itself is done again."""
        try:
            answer = self._recorder["stop" if kept else "discard"](self.config.patience)
        except ServiceError as error:
            if NOT_OPEN not in str(error):
                raise
            self.get_logger().warning(
                f"{task.name}: the recorder has ended this episode by itself, so it is done again"
            )
            return False
        self.get_logger().info(f"{task.name}: {answer}")
        return kept

    def _act(self, task: Task, demonstrator: Demonstrator) -> bool:
        """Act until `LINGER` ticks after success, or until the time is over; whether it succeeded."""
        stamp = self._next_state()
        demonstrator.reset(task.name)
        solved, rest = False, LINGER
        for _ in range(self.config.max_ticks):
            self._publish_action(demonstrator.act(), stamp)
            stamp = self._next_state()
            solved = solved or task.success(self._mirror.room)
            rest -= int(solved)
            if rest < 0 or (demonstrator.failing and demonstrator.given_up):
                break
        return solved

    def _publish_action(self, action: np.ndarray, stamp: int) -> None:
        message = JointState(name=list(self.contract.action.names), position=action.tolist())
        message.header.stamp, message.header.frame_id = ns_to_stamp(stamp), SOURCE
        self._action.publish(message)

    # --- health ------------------------------------------------------------------------------------------------------

    def _report_progress(self) -> None:
        level, text = self._progress
        gate = self._gate
        values = {
            "saved": self._saved,
            "discarded": self._discarded,
            "safety gate": gate.message if gate else "not heard",
        }
        if level == OK and gate is not None and gate.level == DiagnosticStatus.ERROR:
            level, text = WARN, f"{text}; the safety gate is {gate.message}"
        if self.is_active:
            self.report(level, text, **values)


def main(args: list[str] | None = None) -> int:
    """Run the node `scripted_operator`; the exit code is 1 when it could not finish."""
    return run_to_end(ScriptedOperator, args)


if __name__ == "__main__":
    sys.exit(main())
