"""What a robot that nobody resets tries next: forward, backward, forward again, and what it does when it is stuck.

Source: RoboFuME (Yang et al. 2024, arXiv 2310.15145, section III-D) alternates the two directions of a task at each success.
Here any cycle of tasks may take turns, what is done already is passed over, and a robot that gets nowhere first tries something
else, then stirs the scene and recovers by tasks of another kind, and only then asks a person.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from robot_learning.training.run_state import RunError

PERHAPS = 0.5  # so much of a judge's threshold is enough for a task that may be done already
HOME, STIR, PERSON = "home", "stir", "person"  # what is done before an episode; each does what the ones before it do


@dataclass(frozen=True)
class ScheduleConfig:
    """When a robot that gets nowhere does something else."""

    retries: int = 2
    """Failures in a row at one task after which the next has its turn."""
    stir_after: int = 4
    """Failures in a row after which the arm moves about at random near the objects; again after as many more."""
    ask_after: int = 12
    """Failures in a row, or failures in a row at one task whatever became of the others, after which a person is asked to put the
    scene in order; 0: never."""
    recover: tuple[str, ...] = ()
    """Tasks that make the others possible again (open a drawer that was pushed shut), each tried once after stirring, unless it
    seems to be done. The policy and the reward model must know them."""

    def check(self) -> None:
        """Refuse numbers that nothing can be decided with (`RunError`)."""
        if min(self.retries, self.stir_after) < 1 or self.ask_after < 0:
            raise RunError(
                "practice: expected retries and stir_after of at least 1 and an ask_after that is not negative (0: nobody is "
                f"asked), found {self.retries}, {self.stir_after} and {self.ask_after}"
            )


@dataclass(frozen=True)
class Attempt:
    """An episode of the past: its task, whether it succeeded, and what was done before it.

    `cut`: it was cut off, so it is neither success nor failure; but help that a person gave before it was given.
    """

    task: str
    solved: bool
    before: str = HOME
    cut: bool = False


class PracticeSchedule:
    """Decides from the past alone, so that practice that was stopped goes on as it would have.

    Args:
        tasks: the cycle, such as a task and its reverse, each once; named as those of `config.recover` are. Episodes of other
            tasks, of a run that had another cycle before, count for nothing.

    Raises:
        RunError: the tasks are no cycle, or `config` makes no sense.
    """

    def __init__(self, tasks: Sequence[str], config: ScheduleConfig) -> None:
        config.check()
        if not tasks or len(set(tasks)) < len(tasks):
            # what comes next follows from the last task alone, so one that is there twice would hide what follows it later
            raise RunError(f"practice: expected a cycle of tasks, each task once, found {list(tasks)}")
        self.tasks, self.config = list(tasks), config

    @property
    def every_task(self) -> list[str]:
        """Those of the cycle, and those that recover."""
        return list(dict.fromkeys([*self.tasks, *self.config.recover]))

    def before(self, past: Sequence[Attempt]) -> str:
        """What to do before the next episode: `HOME`, `STIR` or `PERSON`."""
        if self.config.ask_after and self.stuck(past) >= self.config.ask_after:
            return PERSON
        return STIR if self._at_an_end(self.failures(past)) and not self._recovered_by(past) else HOME

    def choose(self, past: Sequence[Attempt], done: Mapping[str, bool]) -> str:
        """The task of the next episode, given which goals (by task) seem to be reached already; none need be told.

        After failures enough for every task an answer may be wrong: then, once after each stirring, none is believed. No more
        often, for a policy that is merely weak fails as often, and at what is done already there is nothing to learn.
        """
        order, stuck, tried = self._order(past), self.failures(past), self._recovered_by(past)
        if self._at_an_end(stuck) and self.before(past) != PERSON:
            for task in self.config.recover:
                if task not in tried and not done.get(task, False):
                    return task
        believed = bool(tried) or stuck < self.config.retries * len(self.tasks) or not self._at_an_end(stuck)
        return next((task for task in order if not (believed and done.get(task, False))), order[0])

    def stuck(self, past: Sequence[Attempt]) -> int:
        """How many failures in a row there are, of all tasks or of the one that has most."""
        return max(self.failures(past), *(self.failures(past, task) for task in self.tasks))

    def failures(self, past: Sequence[Attempt], task: str = "") -> int:
        """How many episodes, of `task` where it is given, have failed in a row since the last success of such, or help.

        Recovering is neither. One task that fails all the while the one that undoes it succeeds tells of a judge that is wrong.
        """
        count = 0
        for attempt in reversed(past):
            counts = self._counts(attempt) and task in ("", attempt.task)
            if counts and attempt.solved:
                break
            count += counts
            if attempt.before == PERSON:
                break
        return count

    def _at_an_end(self, failures: int) -> bool:
        return failures > 0 and failures % self.config.stir_after == 0

    def _counts(self, attempt: Attempt) -> bool:
        """Whether it tells of a task of the cycle; recovering does not, nor what was cut off."""
        return attempt.task in self.tasks and not attempt.cut

    def _recovered_by(self, past: Sequence[Attempt]) -> list[str]:
        """What was tried to recover since the last attempt at a task of the cycle."""
        since = itertools.takewhile(lambda attempt: not self._counts(attempt), reversed(past))
        return [attempt.task for attempt in since if attempt.task in self.config.recover and not attempt.cut]

    def _order(self, past: Sequence[Attempt]) -> list[str]:
        """The tasks, the one whose turn it is first."""
        turns = [attempt for attempt in past if self._counts(attempt)]
        if not turns:
            return self.tasks
        last, tried = turns[-1].task, 0
        for attempt in reversed(turns):
            if attempt.solved or attempt.task != last:
                break
            tried += 1
        again = 0 < tried < self.config.retries
        first = (self.tasks.index(last) + (not again)) % len(self.tasks)
        return self.tasks[first:] + self.tasks[:first]
