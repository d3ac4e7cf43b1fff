"""Node `recorder`: records episodes of the running graph into a LeRobot dataset and, beside it, the raw messages into bags.

`python -m robot_learning.nodes.recorder --ros-args -p dataset:=drawer` and then
`ros2 service call /recorder/start std_srvs/srv/Trigger`. Subscriptions hand over raw bytes; decoding, video and disk are the
work of a thread, so that neither a slow disk nor a commit delays a message.
"""

from __future__ import annotations

import os
import queue
import shutil
import sys
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from rclpy.qos import QoSProfile

from robot_learning.contract import ENVIRONMENT_STATE, IMAGE_PREFIX
from robot_learning.data.episode_recorder import (
    IDLE,
    PAUSED,
    RECORDING,
    EpisodeRecorder,
    RecorderError,
    recorded_topics,
)
from robot_learning.data.frames import lasting
from robot_learning.data.messages import decode, encode
from robot_learning.data.recording import ACTION_TOPICS, GATE_STATE, SMALL_TOPICS, STRING, SUCCESS, TASK
from robot_learning.envs.observation import environment_state_stream
from robot_learning.errors import UserError
from robot_learning.nodes.base import ERROR, OK, WARN, NodeConfig, RobotNode, latched, reliable, sensor
from robot_learning.nodes.message_types import message_type
from robot_learning.nodes.running import run

PATIENCE = 60.0  # longest wait for a commit [s]
GIGABYTE = 1e9
NICENESS = 10  # of the thread that decodes, encodes and writes


@dataclass(frozen=True)
class Config(NodeConfig):
    """Parameters of the recorder."""

    dataset: str = ""
    """Folder of the dataset; it is made, or gone on with. Must be given."""
    task: str = ""
    """The instruction of the episodes until one comes on the topic `task`."""
    bags: bool = True
    """Keep the raw messages of each episode in a bag below the dataset."""
    environment_state: bool = False
    """Record the simulation's object state as well (observation.environment_state)."""
    lockstep: bool = False
    """The simulation runs in lockstep: a frame has what is stamped up to its tick, whenever it came."""
    min_free_space: float = 1.0
    """With less free disk space than this [GB] no episode starts, and one in progress is saved."""
    max_backlog: float = 0.5
    """With more messages than this [GB] waiting for the disk, the episode in progress is given up."""


class Recorder(RobotNode[Config]):
    """See the module docstring."""

    def __init__(self, **options: Any) -> None:
        super().__init__("recorder", Config, **options)
        if self.config.environment_state:
            self.contract = self.contract.with_stream(ENVIRONMENT_STATE, environment_state_stream(self.contract.rate))
        self._recorder: EpisodeRecorder | None = None
        self._worker: threading.Thread | None = None
        self._work: queue.SimpleQueue[_Message | _Task | None] = queue.SimpleQueue()
        self._backlog = 0  # bytes; added to by the executor, taken from by the worker
        self._lock, self._showing = threading.Lock(), threading.Lock()
        self._recording = False  # whether messages are wanted
        self._outcome = _Outcome()
        self._subscribers: list[Any] = []
        self._latest: dict[str, bytes] = {}  # of sensors and latched topics: an episode begins with them
        self.wall_timer(1.0 / self.contract.rate, self._show)
        self.on_time_jump(self._on_time_jump)
        for name, handler in (
            ("start", self._start_episode), ("stop", self._stop), ("pause", self._pause), ("resume", self._resume),
            ("discard", self._discard), ("re_record", self._re_record),
        ):  # fmt: skip
            self.trigger_service(name, handler)

    # ---- lifecycle

    def do_configure(self) -> None:
        """Open the dataset and subscribe."""
        if not self.config.dataset:
            raise RecorderError(
                "parameter dataset: expected the folder of the dataset, found nothing; set dataset:=FOLDER"
            )
        topics = recorded_topics(self.contract)
        names = {topic: self.resolve_topic_name(topic) for topic in topics}
        names |= {topic: f"{self.get_fully_qualified_name()}/{topic.split('/')[1]}" for topic in _OWN}
        config = {"node": self.get_fully_qualified_name(), **asdict(self.config)}
        self._recorder = EpisodeRecorder(Path(self.config.dataset), self.contract, names, config, self.config.bags)
        for line in self._recorder.recovered:
            self.get_logger().warning(line)
        if self.config.task:
            self._latest[TASK] = encode(STRING, data=self.config.task)
        for topic, kind in topics.items():
            self._subscribe(topic, kind, _quality(topic))
        self._subscribe(TASK, STRING, reliable())  # people publish it without durability

    def do_activate(self) -> None:
        """Start the thread that works."""
        self._outcome = _Outcome()
        self._worker = threading.Thread(target=self._serve, name="recorder", daemon=True)
        self._worker.start()

    def do_deactivate(self) -> None:
        """Save the open episode and end the thread."""
        if self._recorder and self._recorder.state != IDLE:
            try:
                self.get_logger().info(self._end("deactivated"))
            except UserError as error:
                self.get_logger().error(str(error))
        self._work.put(None)
        if self._worker:
            self._worker.join()

    def do_cleanup(self) -> None:
        """Close the dataset."""
        for subscriber in self._subscribers:
            self.destroy_subscription(subscriber)
        self._subscribers.clear()
        if self._recorder:
            self._recorder.close()
            self._recorder = None

    # ---- services

    def _start_episode(self) -> str:
        recorder = self._opened()
        if TASK not in self._latest:
            raise RecorderError(
                'no task: say what will be shown, e.g. ros2 topic pub --once task std_msgs/String "data: ..."'
            )
        self._require_space()
        if not self.now():
            raise RecorderError("no time yet: use_sim_time is set, but nothing has come on /clock")
        latest, time = dict(self._latest), self.now()
        self._ask(lambda: recorder.start(time, latest))
        self._outcome = _Outcome()
        return f"recording episode {recorder.writer.num_episodes}: {decode(latest[TASK], STRING).data}"

    def _stop(self) -> str:
        return self._end("stop")

    def _pause(self) -> str:
        recorder, time = self._opened(), self.now()
        self._ask(lambda: recorder.pause(time))
        return f"paused after {recorder.writer.episode_length} frames"

    def _resume(self) -> str:
        recorder, time = self._opened(), self.now()
        latest = {topic: raw for topic, raw in self._latest.items() if topic not in SMALL_TOPICS}
        self._ask(lambda: recorder.resume(time, latest))
        return "recording again"

    def _discard(self) -> str:
        recorder, time = self._opened(), self.now()
        kept = self._ask(lambda: recorder.discard(time))
        return f"discarded; its bag is {kept}" if kept else "discarded"

    def _re_record(self) -> str:
        recorder, time = self._opened(), self.now()
        self._ask(lambda: recorder.discard(time, "re_record"))
        return f"discarded; {self._start_episode()}"

    def _end(self, by: str) -> str:
        """Save the open episode; when this returns, it is committed."""
        recorder, time = self._opened(), self.now()
        saved = self._ask(lambda: recorder.save(time, by))
        outcome = "success" if saved.success else "no success"
        return f"saved episode {saved.index}: {saved.frames} frames, {outcome}"

    def _opened(self) -> EpisodeRecorder:
        if self._recorder is None or self._worker is None or not self._worker.is_alive():
            raise RecorderError("the recorder is not active; configure and activate it first")
        return self._recorder

    def _ask(self, task: Callable[[], Any]) -> Any:
        """Let the worker do `task` after everything that came before, and wait; the heartbeat goes on meanwhile."""
        asked = _Task(task)
        self._work.put(asked)
        beat = 0.5 / self.contract.rate
        for _ in range(int(PATIENCE / beat)):
            try:
                return asked.result.result(timeout=beat)
            except NotYet:
                self._beat()
            finally:
                self._recording = self._recorder is not None and self._recorder.state != IDLE
        raise RecorderError(f"the disk has not finished within {PATIENCE:.0f} s; see the recorder's status")

    # ---- messages

    def _subscribe(self, topic: str, kind: str, quality: QoSProfile) -> None:
        callback = partial(self._take_task if topic == TASK else self._take, topic)
        self._subscribers.append(self.create_subscription(message_type(kind), topic, callback, quality, raw=True))

    def _take_task(self, topic: str, raw: bytes) -> None:
        if self._latest.get(TASK) != raw:  # both subscriptions to it bring the same message
            self._take(topic, raw)

    def _take(self, topic: str, raw: bytes) -> None:
        if topic not in _EVENTS:
            self._latest[topic] = raw
        if not self._recording:
            return
        with self._lock:
            self._backlog += len(raw)
        self._work.put(_Message(topic, raw, self.now()))
        if self._backlog > self.config.max_backlog * GIGABYTE:
            self._give_up(f"the disk cannot keep up: {self._backlog / GIGABYTE:.2f} GB wait for it")

    def _give_up(self, why: str) -> None:
        recorder, time = self._opened(), self.now()
        self._recording = False
        self._outcome = _Outcome(f"{why}; the episode was discarded, committed ones are safe")
        self._work.put(_Task(lambda: recorder.discard(time, why)))

    def _on_time_jump(self, seconds: float) -> None:
        """Nothing can be said about the time between: the open episode ends before the jump."""
        self._latest = {topic: raw for topic, raw in self._latest.items() if topic in SMALL_TOPICS}
        recorder = self._recorder
        if recorder is None or not self._recording:
            return
        self._recording = False
        by = f"clock jump of {seconds:+.3f} s"
        self._outcome = _Outcome(f"the episode was saved and ended by a {by}", WARN)
        self._work.put(_Task(lambda: recorder.save(0, by)))

    # ---- the thread

    def _serve(self) -> None:
        """Do the work in the order it came, until None comes; control loops on the same cores go before it."""
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)  # this thread's, and its encoders'
        while (item := self._work.get()) is not None:
            try:
                if isinstance(item, _Task):
                    self._execute(item)
                elif self._recorder:
                    with self._lock:
                        self._backlog -= len(item.raw)
                    self._recorder.message(*item)
            except UserError as error:
                self._failed(str(error))
            except Exception:
                self.get_logger().error(traceback.format_exc())
                if self._recorder:
                    self._recorder.fail()
                self._failed("an unexpected error, see the log; the episode was discarded, committed ones are safe")

    def _execute(self, task: _Task) -> None:
        try:
            task.result.set_result(task.do())
        except Exception as error:
            task.result.set_exception(error)
            if isinstance(error, OSError):
                self._failed(str(error))
            elif not isinstance(error, UserError):
                raise

    def _failed(self, why: str) -> None:
        self._recording = False
        self._outcome = _Outcome(why)
        self._show()  # not at the next beat: the safety gate waits for this

    # ---- health

    def _require_space(self) -> None:
        free = self._free()
        if free < self.config.min_free_space:
            raise RecorderError(
                f"{self.config.dataset}: {free:.2f} GB are free, {self.config.min_free_space:g} are wanted "
                f"(min_free_space); free some space first"
            )

    def _free(self) -> float:
        return shutil.disk_usage(self.config.dataset).free / GIGABYTE

    def _show(self) -> None:
        """Report what the recorder does, and save the episode while there is still room for it.

        Called by a timer and, when the disk refuses, by the thread that works: one at a time, so that neither says last what
        it saw first.
        """
        with self._showing:
            self._show_now()

    def _show_now(self) -> None:
        recorder = self._recorder
        if recorder is None or not self.is_active:
            return
        free = self._free()
        if self._recording and free < self.config.min_free_space:
            self._recording = False
            why = f"only {free:.2f} GB are free (min_free_space {self.config.min_free_space:g})"
            self._outcome = _Outcome(f"the episode was saved and ended: {why}")
            self._work.put(_Task(lambda: recorder.save(0, why)))
        level, text = self._judge(recorder)
        values = {"state": recorder.state, "episodes": recorder.writer.readable_episodes, "ticks": recorder.ticks}
        values |= {"frames": recorder.writer.episode_length, "skipped ticks": recorder.recording.tally.skipped}
        silent = [stream.topic for stream in self.contract.observation.values() if stream.topic not in self._latest]
        values |= {"never heard": ", ".join(silent)}
        values |= {"backlog [MB]": self._backlog / 1e6, "free disk [GB]": free}
        self.report(level, text, **values)

    def _judge(self, recorder: EpisodeRecorder) -> tuple[bytes, str]:
        if self._outcome.text:
            return self._outcome.level, self._outcome.text
        episode = recorder.writer.num_episodes
        if recorder.state == PAUSED:
            return OK, f"paused in episode {episode}"
        if recorder.state == RECORDING:
            wrong = list(lasting(recorder.recording.problems))
            if recorder.is_waiting:
                wrong = ["no action from the safety gate yet"]
            return (
                (WARN, f"recording episode {episode}: {'; '.join(wrong)}")
                if wrong
                else (OK, f"recording episode {episode}")
            )
        return OK, f"idle, {episode} episodes"


@dataclass(frozen=True)
class _Outcome:
    """How the last episode ended when it did not end as asked; shown until the next one starts."""

    text: str = ""
    level: bytes = ERROR


class _Message(NamedTuple):
    topic: str
    raw: bytes
    received: int


@dataclass(frozen=True)
class _Task:
    """Something the worker shall do between two messages."""

    do: Callable[[], Any]
    result: Future[Any] = field(default_factory=Future)


_EVENTS = (SUCCESS, *ACTION_TOPICS)  # of the moment: an episode does not begin with those from before it
_OWN = ("recorder/tick", "recorder/event")


def _quality(topic: str) -> QoSProfile:
    if topic in (TASK, GATE_STATE):
        return latched()
    if topic in ACTION_TOPICS or topic in SMALL_TOPICS:
        return reliable(50)
    return sensor(100 if IMAGE_PREFIX not in topic and "image" not in topic else 30)


def main(args: list[str] | None = None) -> int:
    """Run the node (`ros2 run robot_learning recorder`)."""
    return run(Recorder, args)


if __name__ == "__main__":
    sys.exit(main())
