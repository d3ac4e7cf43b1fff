"""The ROS side of `RobotEnv`: a node in a context and a thread of its own, so that it disturbs nobody else's rclpy."""

from __future__ import annotations

import atexit
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.clock import JumpThreshold
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.parameter import Parameter
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool, String

from robot_learning.contract import Contract
from robot_learning.data.frames import Frame, FrameAssembler
from robot_learning.nodes.base import SECOND, latched, ns_to_stamp, reliable, sensor
from robot_learning.nodes.message_types import message_type
from robot_learning.nodes.running import make_executor
from robot_learning.nodes.service_calls import AGAIN, TriggerCaller
from robot_learning.nodes.shared_memory import sparing_dead_ports

SOURCE, HOLD = "env", "hold"
EPISODE_PATIENCE = 2.0  # [s, wall]
SILENT = 1.0  # who judges the task does so at each tick; so much later nothing is known of it [s, wall]
POLL = 0.002  # simulated time is looked at this often while nothing else comes [s]


class EnvLink:
    """Collects the contract's streams, success and what the safety gate does; sends actions and the task.

    Args:
        success_topic, reset_service, episode_service: names, empty for none.
        person_judges: `success_topic` is silent until the task is done.
    """

    def __init__(
        self,
        contract: Contract,
        namespace: str,
        success_topic: str,
        reset_service: str,
        use_sim_time: bool,
        person_judges: bool = False,
        episode_service: str = "",
    ) -> None:
        self.contract, self.success_topic, self.person_judges = contract, success_topic, person_judges
        self.success: bool | None = None
        self._fresh_success, self._judged = False, 0.0
        self._gate: DiagnosticStatus | None = None
        self._sent: JointState | None = None
        self._assembler = FrameAssembler(contract)
        self._news = threading.Condition()
        self._context = rclpy.Context()
        self._context.init()
        simulated = [Parameter("use_sim_time", value=use_sim_time)]
        with sparing_dead_ports():
            self._node = Node("ros_env", context=self._context, namespace=namespace, parameter_overrides=simulated)
        self._subscribe(use_sim_time)
        self._actions = self._node.create_publisher(JointState, f"{SOURCE}/action", reliable(1))
        self._tasks = self._node.create_publisher(String, "task", latched())
        self.reset_service = TriggerCaller(self._node, reset_service) if reset_service else None
        self._new_episode = TriggerCaller(self._node, episode_service, AGAIN) if episode_service else None
        self._executor = make_executor(self._context)
        self._executor.add_node(self._node)
        self._thread = threading.Thread(target=self._spin, name="ros_env", daemon=True)
        self._open = True
        self._thread.start()
        atexit.register(self.close)  # an executor still spinning when the interpreter ends would abort the process

    def _subscribe(self, use_sim_time: bool) -> None:
        node = self._node
        for topic, (_, kind) in self._assembler.topics().items():
            node.create_subscription(message_type(kind), topic, partial(self._on_stream, topic), sensor(5), raw=True)
        if self.success_topic:
            node.create_subscription(Bool, self.success_topic, self._on_success, reliable(5))
        node.create_subscription(DiagnosticStatus, "safety_gate/state", self._on_gate, latched())
        node.create_subscription(JointState, "safety_gate/action_sent", self._on_sent, reliable(5))
        back = JumpThreshold(min_forward=None, min_backward=Duration(nanoseconds=-1), on_clock_change=False)
        self._jumps = node.get_clock().create_jump_callback(back, post_callback=self._on_jump_back)
        if use_sim_time:
            node.create_subscription(Clock, "/clock", lambda _: self._notify(), sensor(1), raw=True)

    def _spin(self) -> None:
        while self._open and self._context.ok():
            self._executor.spin_once(timeout_sec=0.1)

    # --- what comes in, in the executor's thread -----------------------------------------------------------------------

    def _notify(self) -> None:
        with self._news:
            self._news.notify_all()

    def _on_stream(self, topic: str, raw: bytes) -> None:
        with self._news:
            self._assembler.add(topic, raw, self.now())
            self._news.notify_all()

    def _on_jump_back(self, _: Any) -> None:
        """The simulation was started anew: what came before is of another time."""
        with self._news:
            self._assembler.clear()
            self._news.notify_all()

    def _on_success(self, message: Bool) -> None:
        with self._news:
            self.success, self._fresh_success, self._judged = bool(message.data), True, time.monotonic()
            self._news.notify_all()

    def _on_gate(self, message: DiagnosticStatus) -> None:
        with self._news:
            self._gate = message
            self._news.notify_all()

    def _on_sent(self, message: JointState) -> None:
        with self._news:
            if message.header.frame_id != HOLD or self._sent is None:  # a hold that an action ended says nothing
                self._sent = message
            self._news.notify_all()

    # --- what the environment asks -------------------------------------------------------------------------------------

    def now(self) -> int:
        """The node's clock [ns]."""
        return int(self._node.get_clock().now().nanoseconds)

    def wait(self, timeout: float) -> None:
        """Until something has come, at most `timeout` [s] (time itself may move on without a message)."""
        with self._news:
            self._news.wait(min(timeout, POLL))

    def frame(self) -> Frame:
        """The frame of now."""
        with self._news:
            return self._assembler.frame(self.now())

    def forget(self) -> None:
        """What was said about success so far is about the last episode."""
        with self._news:
            self.success, self._sent = None, None

    def begin_episode(self, stop: Callable[[], bool]) -> None:
        """Tell whoever judges, if it wants to know, that a new episode begins; what it said before is forgotten.

        Raises:
            ServiceError: it offers the service but does not answer, so its verdict might still be on the last episode.
        """
        if self._new_episode is not None and self._new_episode.is_offered:
            self._new_episode(EPISODE_PATIENCE, stop)
        self.forget()

    def begin_tick(self) -> None:
        """From here on, what is carried out and said about success belongs to the next step."""
        with self._news:
            self._fresh_success, self._sent = False, None

    def lacking(self) -> list[str]:
        """What the graph lacks beside the streams of the contract, one line each."""
        lines = []
        if self._gate is None:
            lines.append("safety_gate/state: no message; actions go through the safety gate, start it")
        if self.success_topic and self.person_judges:
            if not self._node.count_publishers(self.success_topic):
                lines.append(
                    f"{self.success_topic}: nobody publishes it; who judges the task? (robot-learning up teleop: the key y)"
                )
        elif self.success_topic and self.success is None:
            lines.append(f"{self.success_topic}: no message; who judges the task? (success_topic='': nobody)")
        elif self.success_topic and (silent := time.monotonic() - self._judged) > SILENT:
            lines.append(
                f"{self.success_topic}: silent for {silent:.1f} s; does the one who judges the task still run, and see?"
            )
        return lines

    def is_something_due(self, frame: Frame, acted: bool) -> bool:
        """Whether a stream's next message should be here by its rate, or what came of an action that was sent."""
        streams = self.contract.observation
        if any(age >= 1.0 / streams[key].rate for key, age in frame.ages.items()):
            return True
        unanswered = self._sent is None or self._sent.header.frame_id == HOLD
        judged = self.person_judges or not self.success_topic or self._fresh_success
        return acted and (unanswered or not judged)

    @property
    def is_stopped(self) -> bool:
        """Whether the safety gate holds until somebody resets the e-stop."""
        with self._news:
            return self._gate is not None and self._gate.level == DiagnosticStatus.ERROR

    def carried_out(self) -> dict[str, Any]:
        """For `info`: what the safety gate says, and which action of whom it has sent since `begin_tick`."""
        with self._news:
            gate, sent = self._gate, self._sent
        info: dict[str, Any] = {"gate": gate.message if gate else ""}
        if sent is not None:
            values = dict(zip(sent.name, sent.position, strict=True))
            info["action_sent"] = np.array([values[name] for name in self.contract.action.names], np.float32)
            info["source"] = sent.header.frame_id
        return info

    def publish_task(self, instruction: str) -> None:
        """Say what is to be done."""
        self._tasks.publish(String(data=instruction))

    def publish_action(self, values: np.ndarray, answers: int) -> None:
        """Send an action `(5,)` that answers the observation of time `answers` [ns]."""
        message = JointState(name=list(self.contract.action.names), position=np.clip(values, -1.0, 1.0).tolist())
        message.header.stamp, message.header.frame_id = ns_to_stamp(answers), SOURCE
        self._actions.publish(message)

    def close(self) -> None:
        """Leave the graph."""
        if not self._open:
            return
        self._open = False
        atexit.unregister(self.close)
        self._thread.join()
        self._executor.remove_node(self._node)
        self._executor.shutdown()
        self._node.destroy_node()
        self._context.try_shutdown()


__all__ = ["SECOND", "EnvLink"]
