"""practice: conducts practice that nobody resets. It chooses the task, lets the policy act, ends the episode, has it recorded.

The policy acts and the reward node judges; what is recorded goes to the learner, whose weights come back to the policy.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any

import numpy as np
from std_msgs.msg import String

from robot_learning.control.homing import Home
from robot_learning.envs.tasks import instruction_of
from robot_learning.errors import UserError
from robot_learning.nodes.base import ERROR, OK, SECOND, WARN, RobotNode, latched
from robot_learning.nodes.judging.questions import questions_of
from robot_learning.nodes.practising.arm import SOURCE, Arm
from robot_learning.nodes.practising.config import Config
from robot_learning.nodes.practising.homes import homes_of, require_tasks
from robot_learning.nodes.practising.senses import Names, NotYetError, Senses, Stopped
from robot_learning.nodes.running import run_to_end
from robot_learning.nodes.service_calls import AGAIN, ServiceError, TriggerCaller
from robot_learning.training.practice_log import Entry, PracticeLog
from robot_learning.training.practice_schedule import PERSON, STIR, PracticeSchedule, ScheduleConfig

RETRY = 0.2  # between two questions whether a node has heard of the task [s, wall]
POLL = 0.02  # the clock is looked at so often while an episode runs [s, wall]
HEALTH_PERIOD = 0.2  # [s, wall]
SETTLING, VERDICTS = (
    0.3,
    5,
)  # so long [s, wall] and so many verdicts on it until it is clear whether a goal is reached already
AT_HOME = 3  # verdicts until it is clear whether the goal just tried is reached: the first may be on a picture of the way there


class Practice(RobotNode[Config]):
    """See the module's docstring. Episodes run in a thread of their own, which may wait for whatever is missing."""

    def __init__(self, **options: Any) -> None:
        super().__init__("practice", Config, **options)
        self.failed = False
        self._progress: tuple[bytes, str] = (OK, "waiting for the graph")
        self._helped, self._is_asking = threading.Event(), False
        self._was_helped = False  # since the last episode in the diary
        self._home: Home | None = None  # where the arm waits for the next episode, when it is there already
        self._senses: Senses | None = None
        self.trigger_service("helped", self._hear_helped)
        self.on_time_jump(self._clock_jumped)

    # --- lifecycle ---------------------------------------------------------------------------------------------------

    def do_configure(self) -> None:
        """Read the diary, join the graph."""
        config = self.config
        config.check(self.contract)
        self._homes = homes_of(config.checkpoint, config.home, config.spread)
        instructions = [instruction_of(task) for task in config.tasks]
        recover = tuple(instruction_of(task) for task in config.recover)
        limits = ScheduleConfig(config.retries, config.stir_after, config.ask_after, recover)
        self._schedule = PracticeSchedule(instructions, limits)
        self._questions = questions_of(config.questions)
        config.require_questions(self._schedule.every_task, self._questions)
        require_tasks(config.checkpoint, self._schedule.every_task)
        self._log_book = PracticeLog(Path(config.run).expanduser())
        try:
            self._join_graph()
        except BaseException:
            self._log_book.close()
            raise

    def _join_graph(self) -> None:
        config = self.config
        others = tuple(name for name in (config.recorder, config.reward, config.learner) if name)
        judged = f"{config.reward}/judged" if config.reward else ""
        names = Names(config.policy, config.success_topic, config.truth_topic, others, judged)
        self._senses = Senses(self, names, SOURCE)
        self._arm = Arm(self, self._senses, config.patience)
        self._task_topic = self.create_publisher_plain(String, "task", latched())
        self._policy = {name: TriggerCaller(self, f"{config.policy}/{name}", AGAIN) for name in ("start", "stop")}
        asked = ("start", "pause", "stop", "discard") if config.recorder else ()
        self._recorder = {name: TriggerCaller(self, f"{config.recorder}/{name}", AGAIN) for name in asked}
        self._judge = TriggerCaller(self, f"{config.reward}/new_episode", AGAIN) if config.reward else None
        self._help = TriggerCaller(self, config.help_service) if config.help_service else None
        self._health = self.wall_timer(HEALTH_PERIOD, self._show)

    def do_activate(self) -> None:
        """Begin to practise."""
        assert self._senses is not None
        self._senses.stop.clear()
        self._thread = threading.Thread(target=self._run, name="practice", daemon=True)
        self._thread.start()

    def do_deactivate(self) -> None:
        """Let go of the robot; an episode in progress is discarded."""
        assert self._senses is not None
        self._senses.stop.set()
        self._senses.wake()
        self._thread.join(2.0)

    def do_cleanup(self) -> None:
        """Leave the graph."""
        if self._senses is None:
            return
        self.destroy_timer(self._health)
        self._senses.destroy()
        self._senses = None
        self._log_book.close()
        self._arm.destroy()
        self.destroy_publisher(self._task_topic)
        callers = [*self._policy.values(), *self._recorder.values(), self._judge, self._help]
        for caller in callers:
            if caller is not None:
                caller.destroy()

    def _hear_helped(self) -> str:
        if not self._is_asking:
            return "thank you; nobody had asked, so practice goes on as it was"
        self._helped.set()
        return "thank you"

    def _clock_jumped(self, _: float) -> None:
        if self._senses is not None:
            self._senses.clock_jumped()

    # --- practice, in a thread of its own ----------------------------------------------------------------------------

    @property
    def _hears(self) -> Senses:
        assert self._senses is not None
        return self._senses

    def _run(self) -> None:
        try:
            while self._log_book.ticks < self.config.steps:
                self._attempt()
            self._progress = (OK, f"done: {self._summary()}")
        except Stopped:
            return
        except UserError as error:
            self.failed, self._progress = True, (ERROR, str(error))
        except Exception as error:
            self.get_logger().error(traceback.format_exc())
            self.failed, self._progress = True, (ERROR, f"an unexpected error, see the log above: {error}")
        if self.config.exit_when_done:
            self._show()
            os.kill(os.getpid(), signal.SIGTERM)

    def _attempt(self) -> None:
        """One episode; what is missing is waited for, and said."""
        try:
            before = self._prepare()
            task, seems_done = self._choose()
            self._episode(task, before, seems_done)
        except (NotYetError, ServiceError) as error:
            self._say(WARN, f"practice waits and goes on by itself: {error}")
            self._rest()
            self._hears.wait(lambda: False, 1.0)

    def _prepare(self) -> str:
        """Rest, let a person help or stir where it is time to, go home; what was done."""
        hears = self._hears
        self._rest()
        before = self._schedule.before(self._log_book.past)
        if before == PERSON and not self._was_helped:
            self._ask_a_person()
            self._was_helped = True
        if hears.holding:  # after a person has helped, too: who reaches into the scene has pressed the e-stop
            self._say(WARN, f"practice waits and goes on by itself: {hears.holding}")
            while not hears.wait(lambda: not hears.holding, 1.0):
                pass
        rng = np.random.default_rng((self.config.seed, len(self._log_book.entries)))
        if before == STIR:
            self._say(OK, "stirring the scene")
            self._arm.stir(rng)
        self._go_home(self._home or self._homes.draw(rng))
        self._home = None
        return before

    def _go_home(self, home: Home) -> None:
        if not self._arm.go_home(home):
            self.count("homes not reached")
            self.get_logger().warning(
                f"the arm has not come home, to {np.round(home.position, 2).tolist()} m and yaw {home.yaw:.2f} rad, and goes on "
                "from where it is: is the way free, is home within reach, and speed_scale of the safety gate more than 0?"
            )

    def _ask_a_person(self) -> None:
        failures = self._schedule.stuck(self._log_book.past)
        if self._help is not None:
            self._say(OK, f"{failures} failures in a row: {self.config.help_service} puts the scene in order")
            self._help(self.config.patience)
            return
        self._helped.clear()
        self._is_asking = True
        name = f"{self.get_fully_qualified_name()}/helped"
        self._say(
            WARN,
            f"{failures} failures in a row: put the scene in order, then ros2 service call {name} std_srvs/srv/Trigger",
        )
        try:
            while not self._hears.wait(self._helped.is_set, 0.5):
                pass
        finally:
            self._is_asking = False

    def _choose(self) -> tuple[str, bool]:
        """The next task: one whose goal is not reached yet, as far as the judge can tell; and whether it seems to be."""
        done: dict[str, bool] = {}
        while True:
            task = self._schedule.choose(self._log_book.past, done)
            self._ask_for(task)
            if task in done:
                return task, True
            if not (self._is_done() or self._hears.perhaps):
                return task, False
            done[task] = True

    def _ask_for(self, task: str) -> None:
        """Publish the task, and make sure that the judge has heard of it: its answer says which question it asks."""
        self._task_topic.publish(String(data=task))
        if self._judge is not None:
            deadline = time.monotonic() + self.config.patience
            expected = self._questions.get(task, "")
            while not self._judge(self.config.patience, self._hears.stop.is_set).endswith(expected):
                if time.monotonic() > deadline:
                    raise NotYetError(
                        f"{self.config.reward} does not ask {expected!r}; does it know the task {task!r}?"
                    )
                self._hears.wait(lambda: False, RETRY)
        self._hears.forget()

    def _is_done(self, verdicts: int = VERDICTS, settling: float = SETTLING) -> bool:
        """Whether the goal is reached before anything moved: the last of some verdicts, the first may be on the last episode."""
        hears = self._hears
        what = f"a verdict on {self.config.success_topic}; does the one who judges run, and see?"
        hears.wait(lambda: False, settling)
        hears.require(lambda: hears.verdicts >= verdicts, self.config.patience, what)
        return bool(hears.verdict)

    def _episode(self, task: str, before: str, seems_done: bool) -> None:
        """Let the policy act until success, the time's end, or a hold; record and write down what came of it."""
        hears, config = self._hears, self.config
        cut = self._log_book.entries[-1].cut if self._log_book.entries else ""
        told = f"; the last episode was cut off: {cut}" if cut else ""
        self._say(WARN if cut else OK, f"{task}: {self._summary()}{told}")
        if self._recorder:
            self._start_recording(task)
        try:
            self._policy["start"](config.patience, hears.stop.is_set)
            hears.forget()
            solved, cut = self._watch(seems_done)
            version, ticks = hears.version, min(hears.carried_out, config.episode_ticks + config.linger)
            self._rest()  # here the policy takes up new weights
            if config.look and not cut:
                solved = self._look_from_home() and not seems_done
        except BaseException:
            if self._recorder:
                self._recorder["discard"].send()
            raise
        misread = bool(hears.verdict) and not solved  # the recorder would call it a success
        saved = self._keep((not cut or solved) and not misread)
        at = self.now() / SECOND
        self._log_book.add(Entry(task, solved, ticks, before, saved, "" if solved else cut, hears.truth, version, at))
        self._was_helped = False

    def _watch(self, seems_done: bool) -> tuple[bool, str]:
        """Whether the episode succeeded, and why it was cut off.

        What seems done before anything moved was not done in this episode, and may be an error: it must have been undone first.
        """
        hears, period = self._hears, SECOND / self.contract.rate
        ends = self.now() + self.config.episode_ticks * period
        most = self.config.episode_ticks + self.config.linger  # where the clock was set back, these end it
        solved, last, was_done = False, ends, False
        while self.now() < ends and hears.carried_out < most:
            hears.wait(lambda: False, POLL)
            if seems_done:
                seems_done, was_done = not (was_done and hears.verdict is False), was_done or bool(hears.verdict)
            elif hears.verdict and not solved:
                solved, ends = True, self.now() + self.config.linger * period
            elif solved and self.config.confirm and hears.verdict is False:
                solved, ends = False, last
            if trouble := hears.trouble():
                return solved, trouble
        return solved, ""

    def _look_from_home(self) -> bool:
        """Whether the goal is reached, as it is seen where the arm hides nothing; what it does meanwhile is not recorded.

        Raises:
            NotYetError: the robot is held, so it is not there.
        """
        if self._recorder:
            self._recorder["pause"](self.config.patience)
        self._home = self._homes.draw(np.random.default_rng((self.config.seed, len(self._log_book.entries), 1)))
        self._go_home(self._home)
        if self._hears.holding:
            raise NotYetError(self._hears.holding)
        self._hears.forget()
        return self._is_done(AT_HOME, 0.0)

    def _start_recording(self, task: str) -> None:
        """Start an episode of this task; the topic may reach the recorder after the call, which its answer shows."""
        deadline = time.monotonic() + self.config.patience
        while True:
            reason = ""
            try:
                if self._recorder["start"](self.config.patience, self._hears.stop.is_set).endswith(f": {task}"):
                    return
                self._recorder["discard"](self.config.patience)
            except ServiceError as error:
                reason = str(error)
                if "already" in reason:  # of a practice node that was killed
                    self._recorder["discard"](self.config.patience)
            if time.monotonic() > deadline:
                raise NotYetError(
                    reason or f"{self.config.recorder} does not take the task {task!r} from the topic `task`"
                )
            self._hears.wait(lambda: False, RETRY)

    def _keep(self, worth: bool) -> bool:
        """Let the recorder save or discard the episode; whether it was saved."""
        if not self._recorder:
            return False
        self._recorder["stop" if worth else "discard"](self.config.patience)
        return worth

    def _rest(self) -> None:
        """Let the policy rest, if there is one; without actions the gate holds."""
        if self._policy["stop"].is_offered:
            try:
                self._policy["stop"](self.config.patience, self._hears.stop.is_set)
            except ServiceError as error:
                self.get_logger().warning(str(error))

    # --- health ------------------------------------------------------------------------------------------------------

    def _say(self, level: bytes, text: str) -> None:
        self._progress = (level, text)

    def _summary(self) -> str:
        book = self._log_book
        solved, recent = book.success()
        return f"{book.ticks}/{self.config.steps} ticks, success {solved}/{recent}"

    def _show(self) -> None:
        book = self._log_book
        solved, recent = book.success()
        values: dict[str, object] = {
            "ticks": book.ticks,
            "episodes": len(book.entries),
            "success": solved / recent if recent else 0.0,
            "interventions": book.interventions,
            "interventions_per_1000": 1000 * book.interventions / max(book.ticks, 1),
        }
        if self.is_active:
            level, text = self._progress
            if gone := ", ".join(self._hears.fallen_silent):
                level, text = max(level, WARN), f"{text}; fallen silent: {gone}"
            self.report(level, text, **values)


def main(args: list[str] | None = None) -> int:
    """Run the node; the exit code is 1 when it could not go on."""
    return run_to_end(Practice, args)


if __name__ == "__main__":
    sys.exit(main())
