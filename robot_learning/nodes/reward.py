"""reward: judges by a reward model, from the cameras' pictures, whether the task is done."""

from __future__ import annotations

import dataclasses
import sys
import time
import traceback
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rcl_interfaces.msg import SetParametersResult
from rclpy.parameter import Parameter
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool, Float32, String

from robot_learning.data.frames import lasting
from robot_learning.errors import UserError
from robot_learning.nodes.base import (
    ERROR,
    OK,
    SECOND,
    WARN,
    RobotNode,
    latched,
    ns_to_stamp,
    reliable,
    sensor,
)
from robot_learning.nodes.inference import InferenceThread, Job, Result
from robot_learning.nodes.judging.asking import Asked, asked, eyes_of, probability
from robot_learning.nodes.judging.eyes import Eyes
from robot_learning.nodes.judging.keeper import UncertainKeeper
from robot_learning.nodes.judging.questions import questions_of
from robot_learning.nodes.judging.verdict import Verdict
from robot_learning.nodes.message_types import message_type
from robot_learning.nodes.reward_config import Config
from robot_learning.nodes.running import run
from robot_learning.nodes.teleop import PERSON
from robot_learning.rewards import QuestionError, RewardModel, load_reward

LATE = 1.0  # no verdict in time for so long is an error [s, wall]
WINDOW = 50  # verdicts over which the rate is measured


class RewardNode(RobotNode[Config]):
    """See the module's docstring. Pictures and verdicts in the executor's thread, the model and the disk in their own."""

    def __init__(self, **options: Any) -> None:
        super().__init__("reward", Config, **options)
        self._parts: list[tuple[Callable[[Any], Any], Any]] = []
        self._model: RewardModel | None = None
        self._keeper: UncertainKeeper | None = None
        self._epoch, self._question, self._instruction = 0, "", ""
        self.trigger_service("new_episode", self._new_episode)
        self.on_time_jump(self._clock_jumped)
        self.add_on_set_parameters_callback(self._set_parameters)

    # --- lifecycle ---------------------------------------------------------------------------------------------------

    def do_configure(self) -> None:
        """Load the model, check that the robot has its cameras, warm up, subscribe to them."""
        try:
            self._prepare()
        except BaseException:  # nothing is left behind for the next try, which may come: a server, a folder in use
            self.do_cleanup()
            raise

    def _prepare(self) -> None:
        self._read_parameters()
        torch.set_num_threads(self.config.threads)
        self._known = questions_of(self.config.questions)
        model = load_reward(self.config.model)
        period = round(SECOND / (self.config.rate or self.contract.rate))
        self._eyes = Eyes(eyes_of(self.contract, model, self.config.max_age), period)
        self._ways: dict[str, Asked | UserError] = {}
        self._question = self._instruction = ""
        if self.config.question:
            asked(model, self.config.question)
            self._question = self.config.question
        self._verdict = Verdict(self.config.consecutive)
        self._times: deque[float] = deque(maxlen=WINDOW)
        self._looking, self._others = False, ""
        self._inference = InferenceThread(self._infer, self._deliver)
        self._model = model
        self._warm_up()
        if self.config.uncertain_folder:
            root = Path(self.config.uncertain_folder).expanduser()
            self._keeper = UncertainKeeper(
                root, self.config.uncertain_limit, self.config.uncertain_per_episode, self._not_kept
            )
        self._join_graph()
        self._begin()

    def do_activate(self) -> None:
        """Judge from now on."""
        self._begin()
        self._say_waiting()

    def do_deactivate(self) -> None:
        """Say nothing more."""
        self._begin()

    def do_cleanup(self) -> None:
        """Leave the graph and free the model."""
        for destroy, part in self._parts:
            destroy(part)
        self._parts.clear()
        if self._keeper is not None:
            self._keeper.close()
            self._keeper = None
        if self._model is not None:
            self._inference.close()
            self._model = None

    def _read_parameters(self) -> None:
        """Parameters may have been set anew since the node was made."""
        names = [field.name for field in dataclasses.fields(Config) if field.name not in ("contract", "autostart")]
        values = {name: self.get_parameter(name).value for name in names}
        questions = tuple(values.pop("questions") or ())
        self.config = dataclasses.replace(self.config, questions=questions, **values)
        self.config.check()

    def _join_graph(self) -> None:
        self._success = self.create_publisher(Bool, "success", reliable(5))
        self._probability = self.create_publisher(Float32, "~/probability", reliable(5))
        self._judged = self.create_publisher(JointState, "~/judged", reliable(5))
        subscriptions = [
            self.create_subscription(message_type(kind), topic, partial(self._on_picture, topic), sensor(5), raw=True)
            for topic, (_, kind) in self._eyes.topics().items()
        ]
        # the first hears what was said before, the second those who do not latch
        for profile in (latched(), reliable(1)):
            subscriptions.append(self.create_subscription(String, "task", self._on_task, profile))
        subscriptions.append(self.create_subscription(Bool, PERSON, self._on_person, reliable(5)))
        timers = [self.wall_timer(1.0 / self.contract.rate, self._miss), self.wall_timer(1.0, self._look_for_others)]
        self._parts = [(self.destroy_subscription, s) for s in subscriptions]
        self._parts += [(self.destroy_timer, t) for t in timers]
        self._parts += [(self.destroy_publisher, p) for p in (self._success, self._probability, self._judged)]

    def _warm_up(self) -> None:
        """The first forward passes are slow; let nobody wait for them."""
        assert self._model is not None
        zeros = {key: np.zeros(stream.shape, stream.dtype) for key, stream in self._eyes.contract.observation.items()}
        for _ in range(2):
            self._infer(Job(0, 0, 0, self._question or self._model.questions[0], zeros, fresh=True))

    # --- episodes ----------------------------------------------------------------------------------------------------

    def _new_episode(self) -> str:
        if self._model is not None:
            self._begin()
        return f"judging: {self._question}" if self._question else "waiting for a question"

    def _begin(self) -> None:
        """A new episode: what was seen and said so far does not count, nor what the model is looking at just now."""
        self._epoch += 1
        self._verdict.reset()
        self._eyes.begin(self.now())
        self._complaint: tuple[str, ...] = ()
        self._last: tuple[Job, float, float] | None = None
        if self._keeper is not None:
            self._keeper.new_episode()

    def _on_task(self, message: String) -> None:
        if not self.config.follow_task or message.data == self._instruction:
            return
        self._instruction = message.data
        self._ask(self._known.get(message.data, ""))

    def _ask(self, question: str) -> None:
        self._question = question
        self._begin()
        if self.is_active:
            self._say_waiting()

    def _set_parameters(self, changes: list[Parameter]) -> SetParametersResult:
        for change in changes:
            if change.name == "question" and self._model is not None:
                try:
                    if change.value:
                        asked(self._model, change.value)
                except UserError as error:
                    return SetParametersResult(successful=False, reason=str(error))
                self._ask(change.value)
        return SetParametersResult(successful=True)

    def _clock_jumped(self, _: float) -> None:
        if self._model is not None:
            self._eyes.clear()
            self._begin()

    def _on_person(self, message: Bool) -> None:
        """A person's word holds for the rest of the episode."""
        if not self.is_active:
            return
        if self._verdict.say(message.data) and self._keeper is not None and self._last is not None:
            job, p, threshold = self._last
            self._keep(job, p, threshold, disputed=True)
        self._success.publish(Bool(data=message.data))
        self._report(self._level, self._message)

    # --- pictures ----------------------------------------------------------------------------------------------------

    def _on_picture(self, topic: str, raw: bytes) -> None:
        self._eyes.add(topic, raw, self.now())
        self._judge_if_due()

    def _judge_if_due(self) -> None:
        if not self.is_active or not self._question or not self._eyes.is_due:
            return
        if self._looking:
            self.count("late_frames")
            return  # these are judged when the model is free, or newer ones then
        frame = self._eyes.look(self.now())
        if not frame.usable:
            self._complain(frame.problems)
        elif self._eyes.is_of_now(frame):
            images = {key: value.copy() for key, value in frame.values.items()}  # torch takes no read-only arrays
            job = Job(0, self._eyes.stamp(frame), self._epoch, self._question, images, fresh=False)
            self._looking = self._inference.submit(job)

    def _miss(self) -> None:
        """Pictures that no longer come are missed."""
        if self.is_active and self._question and (problems := self._eyes.missing(self.now())):
            self._complain(problems)

    def _complain(self, problems: tuple[str, ...]) -> None:
        """No verdict on what is stale, missing or malformed. Said once for each set of troubled streams."""
        self._verdict.lose_sight()
        troubled = lasting(problems)
        if troubled != self._complaint:
            self._complaint = troubled
            self._report(ERROR, "no verdict: " + "; ".join(problems))

    def _look_for_others(self) -> None:
        """Two who judge on one topic contradict each other, unless one is a person's."""
        people = {info.node_name for info in self.get_publishers_info_by_topic(PERSON)}
        found = {info.node_name for info in self.get_publishers_info_by_topic("success")} - people - {self.get_name()}
        self._others = ", ".join(sorted(found))

    # --- the model, in the inference thread --------------------------------------------------------------------------

    def _infer(self, job: Job) -> np.ndarray:
        """P(yes) and the threshold, `(2,)`."""
        assert self._model is not None
        if job.task not in self._ways:
            try:
                self._ways[job.task] = asked(self._model, job.task)
            except QuestionError as error:
                self._ways[job.task] = error
        way = self._ways[job.task]
        if isinstance(way, UserError):
            raise way
        return np.array([probability(self._model, job.observation, way), way.threshold])

    def _deliver(self, result: Result) -> None:
        """Back to the executor's thread."""
        executor = self.executor
        if executor is not None:
            executor.create_task(self._on_result, result)

    # --- verdicts ----------------------------------------------------------------------------------------------------

    def _on_result(self, result: Result) -> None:
        self._looking = False
        if result.job.epoch == self._epoch and self.is_active:
            self._take(result)
        if self._model is not None:
            self._judge_if_due()

    def _take(self, result: Result) -> None:
        job = result.job
        if result.output is None:
            self._fail(result.error)
            return
        age = (self._eyes.latest(self.now()) - job.at) / SECOND
        p, threshold = (float(value) for value in result.output)
        success = self._verdict.see(p, threshold, min(self.config.lower_threshold or threshold / 2, threshold))
        self._last = job, p, threshold
        self._keep(job, p, threshold)
        values = {"probability": p, "threshold": threshold, "age_ms": age * 1e3}
        if age > self._eyes.max_age:
            self._say_late(values)
            return
        self._complaint = ()
        self._publish(job, p, threshold, success)
        self._times.append(time.monotonic())
        if self._others:
            self._report(WARN, f"{self._others} says success too, so it is left to chance who judges", **values)
        else:
            self._report(OK, f"judging: {self._question}", **values)

    def _say_late(self, values: dict[str, float]) -> None:
        """A picture that has grown too old counts among those in a row, but nothing is said of success. Seldom is no error."""
        self.count("late_verdicts")
        if not self._times or time.monotonic() - self._times[-1] > LATE:
            age = f"older than max_age {self._eyes.max_age:g} s"
            self._report(ERROR, f"no verdict: the model takes too long, its pictures are {age} then", **values)

    def _publish(self, job: Job, p: float, threshold: float, success: bool) -> None:
        self._probability.publish(Float32(data=p))
        message = JointState(name=["probability", "threshold", "success"], position=[p, threshold, float(success)])
        message.header.stamp, message.header.frame_id = ns_to_stamp(job.at), self._verdict.by
        self._judged.publish(message)
        self._success.publish(Bool(data=success))

    def _keep(self, job: Job, p: float, threshold: float, disputed: bool = False) -> None:
        way = self._ways.get(job.task)
        if self._keeper is None or not isinstance(way, Asked):
            return
        if way.turned:
            p, threshold = 1.0 - p, 1.0 - threshold
        self._keeper.offer(job.at / SECOND, job.observation, way.question, p, threshold, disputed)

    def _not_kept(self, error: Exception) -> None:
        self.count("pictures_not_kept")
        self.get_logger().error(f"a picture could not be kept: {error}", throttle_duration_sec=10.0)

    def _fail(self, error: Exception | None) -> None:
        self._verdict.lose_sight()
        if not isinstance(error, UserError):
            self.get_logger().error("".join(traceback.format_exception(error)), throttle_duration_sec=10.0)
        self._report(ERROR, f"no verdict: {error}")

    def _say_waiting(self) -> None:
        if not self._question and self._instruction:
            self._report(
                ERROR,
                f"no verdict: no question is known for the instruction {self._instruction!r}; add '{self._instruction} = "
                "...?' to the parameter questions, or set follow_task to false",
            )
        elif not self._question:
            self._report(WARN, "waiting for an instruction on the topic task, or the parameter question")

    def _report(self, level: bytes, message: str, **values: object) -> None:
        p50, p95 = self._inference.percentiles_ms()
        span = self._times[-1] - self._times[0] if len(self._times) > 1 else 0.0
        verdict = {True: "done", False: "not done", None: "none"}[self._verdict.success]
        shown: dict[str, object] = {
            "question": self._question,
            "verdict": verdict,
            "verdict_by": self._verdict.by,
            "verdicts [Hz]": (len(self._times) - 1) / span if span else 0.0,
            "inference_p50_ms": p50,
            "inference_p95_ms": p95,
        }
        if self._keeper is not None:
            shown["pictures_wanted"] = self._keeper.waiting
        self.report(level, message, **shown, **values)


def main(args: list[str] | None = None) -> int:
    """Run the node."""
    return run(RewardNode, args)


if __name__ == "__main__":
    sys.exit(main())
