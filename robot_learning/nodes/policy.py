"""policy: turns the robot's streams into actions with a trained checkpoint, at the contract's rate."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import sys
import time
import traceback
from collections import deque
from functools import partial
from typing import Any

import numpy as np
import torch
from rcl_interfaces.msg import SetParametersResult
from rclpy.parameter import Parameter
from sensor_msgs.msg import JointState
from std_msgs.msg import String

from robot_learning.contract import STATE
from robot_learning.control.retries import Retries
from robot_learning.data.frames import Frame, FrameAssembler, lasting
from robot_learning.data.messages import STAMPED, MessageFault, header_stamp
from robot_learning.data.recording import HOLD
from robot_learning.errors import UserError
from robot_learning.nodes.base import ERROR, OK, SECOND, WARN, RobotNode, latched, ns_to_stamp, reliable, sensor
from robot_learning.nodes.inference import InferenceThread, Job, Result
from robot_learning.nodes.message_types import message_type
from robot_learning.nodes.phase import PhaseLock
from robot_learning.nodes.policy_config import Config
from robot_learning.nodes.policy_weights import NewWeights, warm_up
from robot_learning.nodes.running import run
from robot_learning.policies import (
    ChunkPlayer,
    ChunkPolicy,
    Policy,
    UnknownTaskError,
    build_policy,
    read_checkpoint,
    retries_of,
    task_index,
)
from robot_learning.policies.parcel import version_of

EARLY = 0.75  # with `frames`: no sooner than this after the last tick [periods]
GATE = "safety_gate/action_sent"
SILENCE = 1.0  # the gate speaks in every control period; silent for so long it is gone [s]


class NotActiveError(UserError, RuntimeError):
    """A service needs the node to be active."""


class PolicyNode(RobotNode[Config]):
    """See the module's docstring. Frames and decisions in the executor's thread, forward passes in one of their own."""

    def __init__(self, **options: Any) -> None:
        super().__init__("policy", Config, **options)
        self._parts: list[tuple[Any, Any]] = []
        self._policy: Policy | None = None
        self._acting, self._newest = False, 0
        self.trigger_service("start", self._start_acting)
        self.trigger_service("stop", self._stop_acting)
        self.on_time_jump(self._clock_jumped)
        self.add_on_set_parameters_callback(self._set_parameters)

    # --- lifecycle ---------------------------------------------------------------------------------------------------

    def do_configure(self) -> None:
        """Load the checkpoint, check it against the robot's contract, warm up, subscribe to the streams it reads."""
        self._read_parameters()
        torch.set_num_threads(self.config.threads)
        checkpoint = read_checkpoint(self.config.checkpoint)
        policy = build_policy(checkpoint, f"checkpoint {self.config.checkpoint}", self.contract)
        self._task = self.config.task or (policy.tasks[0] if len(policy.tasks) == 1 else "")
        if self._task:
            task_index(self._task, policy.tasks)
        warm_up(policy)
        self._retries: Retries | None = None
        self._adopt(policy, version_of(checkpoint))
        self._period = round(SECOND / self.contract.rate)
        self._assembler = FrameAssembler(policy.contract)
        cameras = {stream.topic: 1.0 / stream.rate for stream in policy.contract.images.values()}
        self._phase = PhaseLock(1.0 / self.contract.rate, cameras, waits=self.config.frame_wait > 0)
        self._latencies: deque[float] = deque(maxlen=200)
        self._inference = InferenceThread(self._infer, self._deliver)
        self._tick = self._at = self._epoch = 0
        self._gate_heard = math.inf  # on the wall clock; nobody misses a gate that was never there
        self._weights = NewWeights(self, policy, self._on_weights)
        self._join_graph()
        self._new_episode()

    def do_activate(self) -> None:
        """Tick from now on."""
        self._tick_timer.reset()
        self._acting = self.config.act_at_once
        self._new_episode()
        self._say_waiting()

    def do_deactivate(self) -> None:
        """Send nothing more: the safety gate holds."""
        self._acting = False
        self._new_episode()
        self._tick_timer.cancel()
        self._wait_timer.cancel()

    def do_cleanup(self) -> None:
        """Leave the graph and free the policy."""
        for destroy, part in self._parts:
            destroy(part)
        self._parts.clear()
        if self._policy is not None:
            self._weights.close()
            self._inference.close()
            self._policy = None

    def _read_parameters(self) -> None:
        """Parameters may have been set anew since the node was made."""
        names = [field.name for field in dataclasses.fields(Config) if field.name not in ("contract", "autostart")]
        self.config = dataclasses.replace(self.config, **{name: self.get_parameter(name).value for name in names})
        self.config.check()

    def _join_graph(self) -> None:
        self._action = self.create_publisher(JointState, "~/action", reliable(1))
        self._inputs = self.create_publisher(JointState, "~/inputs", reliable(5))
        subscriptions = [
            self.create_subscription(message_type(kind), topic, partial(self._on_message, topic), sensor(5), raw=True)
            for topic, (_, kind) in self._assembler.topics().items()
        ]
        # the first hears what was said before, the second those who do not latch
        subscriptions += [self.create_subscription(String, "task", self._on_task, p) for p in (latched(), reliable(1))]
        subscriptions.append(self.create_subscription(JointState, GATE, self._on_sent, reliable(5)))
        self._tick_timer = self.create_timer(1.0 / self.contract.rate, self._on_timer)
        self._wait_timer = self.wall_timer(max(self.config.frame_wait, 1e-3), self._waited)
        self._tick_timer.cancel()
        self._wait_timer.cancel()
        self._parts = [(self.destroy_subscription, s) for s in subscriptions]
        self._parts += [(self.destroy_timer, t) for t in (self._tick_timer, self._wait_timer)]
        self._parts += [(self.destroy_publisher, p) for p in (self._action, self._inputs)]

    def _adopt(self, policy: Policy, version: str) -> None:
        """Act with this policy from now on; plans of another are void."""
        if self.config.retry and (self._policy is None or getattr(policy, "retry_plan", None)):
            self._retries = retries_of(policy, f"policy: retry, checkpoint {self.config.checkpoint}", self._retries)
        self._policy = policy
        self._player: ChunkPlayer | None = policy.player() if isinstance(policy, ChunkPolicy) else None
        self._watch = policy.watch() if isinstance(policy, ChunkPolicy) else None
        self._every = policy.blending.every if isinstance(policy, ChunkPolicy) else 1
        self._values |= {"version": version, "next_version": ""}

    # --- what comes in -----------------------------------------------------------------------------------------------

    def _on_message(self, topic: str, raw: bytes) -> None:
        now = self.now()
        self._assembler.add(topic, raw, now)
        self._phase.arrived(topic, now)
        if self._acting and topic in self._phase.periods and self._tick_due_within(self._phase.periods[topic]):
            self._assembler.decode(topic)
        if self._waiting and not self._phase.worth_waiting(now, self.config.frame_wait):
            self._waited()
        if self.config.trigger == "frames" and self._acting:
            self._on_fresh(topic, raw)

    def _tick_due_within(self, seconds: float) -> bool:
        left = self._tick_timer.time_until_next_call()  # None: the timer is cancelled
        return left is not None and left < seconds * SECOND

    def _on_fresh(self, topic: str, raw: bytes) -> None:
        """Tick when every stream brought something new. Time is the messages' own: /clock may come after them."""
        if self._assembler.topics()[topic][1] in STAMPED:
            with contextlib.suppress(MessageFault):  # the frame will name the fault
                self._newest = max(self._newest, header_stamp(raw))
        self._fresh.add(topic)
        if len(self._fresh) == len(self._assembler.topics()) and self._newest - self._at >= EARLY * self._period:
            self._act()

    def _on_task(self, message: String) -> None:
        if message.data != self._task:
            self._task = message.data
            self._new_episode()

    def _on_weights(self) -> None:
        """No episode is begun with one policy and ended with another."""
        self._values["next_version"] = self._weights.waiting or ""
        if self._weights.refused:
            self.report(WARN, self._weights.refused)
        if self._weights.waiting is not None and (not self._begun or self._weights.is_joining):
            self._new_episode()

    def _on_sent(self, message: JointState) -> None:
        """While others act, the gate holds, or an attempt was given up, plans made from where the robot was are void."""
        source, retries = message.header.frame_id, self._retries
        if retries is not None and source not in (self.get_name(), HOLD):
            retries.reset()  # where another, a person say, leaves the arm an attempt begins
        self._held = source == HOLD
        self._interrupted = source != self.get_name() or (retries is not None and retries.is_retreating)
        self._gate_heard = time.monotonic()

    def _set_parameters(self, changes: list[Parameter]) -> SetParametersResult:
        for change in changes:
            if change.name == "task" and self._policy is not None and change.value:
                try:
                    task_index(change.value, self._policy.tasks)
                except UnknownTaskError as error:
                    return SetParametersResult(successful=False, reason=str(error))
                self._on_task(String(data=change.value))
        return SetParametersResult(successful=True)

    def _start_acting(self) -> str:
        if not self.is_active:
            raise NotActiveError("the policy node is not active; ros2 lifecycle set <policy> configure, then activate")
        self._acting = True
        self._new_episode()
        self._say_waiting()
        return f"acting: {self._task}" if self._task else "waiting for an instruction on the topic task"

    def _stop_acting(self) -> str:
        self._acting = False
        if self._policy is not None:
            self._new_episode()
        if self.is_active:
            self._say_waiting()
        return "stopped; the safety gate holds"

    def _clock_jumped(self, _: float) -> None:
        if self._policy is not None:
            self._assembler.clear()
            self._phase.clear()
            self._new_episode()

    def _new_episode(self) -> None:
        """Whatever is under way is void, and the policy, or a newer one that waits, starts from what it sees next."""
        if newer := self._weights.take():
            self._adopt(*newer)
        if self._retries is not None:
            self._retries.reset()
        self._epoch += 1
        self._explore = self.config.exploration(len(self.contract.action.names), self._epoch)
        self._begun = self._waiting = self._held = False
        self._interrupted = self._answered = True
        self._fresh: set[str] = set()
        self._ages: dict[str, float] = {}
        self._complaint: tuple[str, ...] = ()
        self._at = self._newest = 0

    def _say_waiting(self) -> None:
        assert self._policy is not None
        if not self._acting:
            self.report(OK, "stopped: the service ~/start lets it act")
        elif not self._task:
            self.report(WARN, f"waiting for an instruction on the topic task; it knows {self._policy.tasks}")

    # --- ticks -------------------------------------------------------------------------------------------------------

    def _on_timer(self) -> None:
        if self.config.trigger == "timer" and self._acting and not self._waiting:
            if self.config.frame_wait > 0 and self._phase.worth_waiting(self.now(), self.config.frame_wait):
                self._waiting = True
                self._wait_timer.reset()
            else:
                self._act()
        if self.config.align:
            self._tick_timer.timer_period_ns = round(self._phase.next_period(self.now()) * SECOND)

    def _waited(self) -> None:
        self._wait_timer.cancel()
        if self._waiting:
            self._waiting = False
            self._act()

    def _act(self) -> None:
        """One control tick: a frame, and the action it asks for."""
        now = self.now() if self.config.trigger == "timer" else max(self.now(), self._newest)
        self._tick += max(1, round((now - self._at) / self._period)) if self._at else 1
        self._at, self._answered = now, False
        self._fresh.clear()
        if not self._task:
            self._say_waiting()
            return
        frame = self._assembler.frame(now)
        self._ages = frame.ages
        if not frame.usable:
            self._complain(frame)
            return
        self._complaint = ()
        if self._watch is not None:
            self._watch.look(frame.values)
        back = self._retries.action(frame.values[STATE], self._task, self._held) if self._retries is not None else None
        if back is not None:
            self._interrupted = True
            self._publish(back)
            return
        if self._tick % self._every != 0 and not self._interrupted and self._publish_planned():
            return
        writable = {key: value.copy() for key, value in frame.values.items()}  # torch takes no read-only arrays
        job = Job(self._tick, now, self._epoch, self._task, writable, self._interrupted)
        if not self._inference.submit(job):
            self.count("late_ticks")
            if not self._publish_planned():
                self.count("dropped_ticks")

    def _complain(self, frame: Frame) -> None:
        """No action from what is stale, missing or malformed: the gate holds. Said once for each set of troubled streams."""
        self.count("unusable_frames")
        self._interrupted = True
        troubled = lasting(frame.problems)
        if troubled != self._complaint:
            self._complaint = troubled
            self._report(ERROR, "no action: " + "; ".join(frame.problems))

    # --- the policy, in the inference thread -------------------------------------------------------------------------

    def _infer(self, job: Job) -> np.ndarray:
        policy = self._policy
        assert policy is not None
        if job.fresh:
            policy.reset()
        if isinstance(policy, ChunkPolicy):
            return policy.plan(job.observation, job.task, job.tick)
        return policy.predict(job.observation, job.task)

    def _deliver(self, result: Result) -> None:
        """Back to the executor's thread."""
        if (executor := self.executor) is not None:
            executor.create_task(self._on_result, result)

    # --- results -----------------------------------------------------------------------------------------------------

    def _on_result(self, result: Result) -> None:
        job = result.job
        if job.epoch != self._epoch or not self._acting:
            return
        if result.output is None:
            self._fail(result.error)
            return
        if self._player is not None:
            if job.fresh:
                self._player.reset()
            self._player.add(job.tick, result.output)
            if not self._answered:
                self._publish_planned()
        elif job.tick == self._tick and self.now() - job.at <= self._period:
            self._publish(result.output)
        else:
            self.count("dropped_ticks")  # a single action is of no use any more

    def _fail(self, error: Exception | None) -> None:
        self._interrupted = True
        if not isinstance(error, UserError):
            self.get_logger().error("".join(traceback.format_exception(error)))
        self._report(ERROR, f"no action: {error}")

    def _publish_planned(self) -> bool:
        """Send what earlier plans hold for this tick, if anything."""
        action = self._player.action(self._tick) if self._player is not None else None
        if action is not None:
            self._publish(action)
        return action is not None

    def _publish(self, planned: np.ndarray) -> None:
        action = self._explore(planned)
        if action is not planned and self._player is not None:
            self._player.carried_out(self._tick, action)
        message = JointState(name=list(self.contract.action.names), position=[float(a) for a in action])
        message.header.stamp, message.header.frame_id = ns_to_stamp(self._at), self.get_name()
        self._action.publish(message)
        self._begun = True
        # the same form for how old each stream was then: name = stream, position = age [s]
        self._inputs.publish(
            JointState(header=message.header, name=list(self._ages), position=list(self._ages.values()))
        )
        self._answered = True
        self._latencies.append((self.now() - self._at) / SECOND)
        p50 = self._inference.percentiles_ms()[0]
        if p50 * 1e6 > self._period:
            self._report(WARN, f"inference takes longer than a control period: {self._task}")
        elif time.monotonic() - self._gate_heard > SILENCE:
            self._report(ERROR, "the safety gate has fallen silent, so nothing is carried out: start it again")
        elif trouble := self._weights.refused or (self._watch.told if self._watch is not None else ""):
            self._report(WARN, f"acting: {self._task}; {trouble}")
        else:
            self._report(OK, f"acting: {self._task}{self._retries.told if self._retries is not None else ''}")

    def _report(self, level: bytes, message: str) -> None:
        p50, p95 = self._inference.percentiles_ms()
        ages = {f"age_ms {key}": age * 1e3 for key, age in self._ages.items()}
        latency = float(np.median(self._latencies)) * 1e3 if self._latencies else 0.0
        values = {"inference_p50_ms": p50, "inference_p95_ms": p95, "frame_to_action_p50_ms": latency}
        self.report(level, message, task=self._task, **values, **ages)


def main(args: list[str] | None = None) -> int:
    """Run the node."""
    return run(PolicyNode, args)


if __name__ == "__main__":
    sys.exit(main())
