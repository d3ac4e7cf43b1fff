"""What was done in a recording, by a reward model's answers about its pictures, whatever somebody was trying there.

Play whose attempts nobody judged becomes data of every task whose question the model knows, and an attempt of practice that did
another task than its own is a success of that one. It is hindsight relabelling (Andrychowicz et al. 2017, arXiv 1707.01495) with
questions for goals; RoboFuME (Yang et al. 2024, arXiv 2310.15145, section III) labels its prior data by its reward model too.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from robot_learning.algorithms.demonstrations import Achieved, Demonstrations, cut_out
from robot_learning.contract import IMAGE_PREFIX
from robot_learning.data import Dataset
from robot_learning.data.recording import HELD
from robot_learning.envs.tasks import TASKS
from robot_learning.rewards import RewardModel, load_reward
from robot_learning.training.progress import ProgressBar
from robot_learning.training.run_state import RunError

CHUNK = 32  # pictures at a time
LONGEST = 100  # an attempt began no more than this before it was done [frames]
CERTAIN = 10  # so many frames of no say that a task is undone
APART = 10  # what is done within this of something else is part of the same attempt [frames]


class Goal(NamedTuple):
    """What may be done: its instruction, the question whether it is, and the question whether it is undone ("": none)."""

    instruction: str
    question: str
    undone: str = ""


PLAYROOM = tuple(
    Goal(task.instruction, task.question, TASKS[task.reverse].question if task.reverse else "")
    for task in TASKS.values()
)


def goals_of(entries: Sequence[str]) -> tuple[Goal, ...]:
    """Goals from entries "instruction = question" or "instruction = question | question whether it is undone".

    Returns:
        Those of the playroom without any.

    Raises:
        RunError: an entry is not of that form.
    """
    goals = []
    for entry in entries:
        instruction, _, questions = (part.strip() for part in entry.partition("="))
        question, _, undone = (part.strip() for part in questions.partition("|"))
        if not instruction or not question:
            raise RunError(
                f"--relabel-questions: expected 'instruction = question | question if undone', found {entry!r}"
            )
        goals.append(Goal(instruction, question, undone))
    return tuple(goals) or PLAYROOM


class Relabeller:
    """Finds what was done in recordings.

    A task is done where its question is answered yes for `consecutive` frames in a row, after it was seen undone: the question
    whether it is undone was answered yes for as many, and its own no. Where the model does not know that one, no for `CERTAIN`
    frames must do; an arm in front of the camera makes a model say no for a few. The attempt began where something else had been
    done before it, `LONGEST` frames before at most, and goes on for `linger` frames.

    Raises:
        RunError: the model knows the question of none of the `goals`.
    """

    def __init__(
        self, reward: RewardModel, goals: Sequence[Goal] = PLAYROOM, consecutive: int = 2, linger: int = 5
    ) -> None:
        self.reward, self.consecutive, self.linger = reward, consecutive, linger
        self._known: dict[tuple[Path, int], list[Achieved]] = {}
        self.goals = tuple(goal for goal in goals if goal.question in reward.questions)
        if not self.goals:
            raise RunError(
                f"the reward model knows none of the questions {[goal.question for goal in goals]}, so it cannot relabel; known: "
                f"{list(reward.questions)} (--relabel-questions 'instruction = question' for tasks of your own)"
            )

    def __call__(self, dataset: Dataset) -> list[Achieved]:
        """All that was done in a dataset, in the order of its frames.

        Raises:
            RunError: a camera that the model looks through was not recorded.
        """
        found = []
        with ProgressBar(f"relabel {dataset.root.name}", dataset.num_frames, "frames") as bar:
            for episode in range(dataset.num_episodes):
                found += self.episode(dataset, episode)
                bar.update(int(dataset.episode_ranges[episode, 1]))
        return found

    def others(self, dataset: Dataset, episodes: Sequence[int], inputs: Sequence[str]) -> list[Demonstrations]:
        """What was done in these episodes besides their own tasks, in at most one part; each is looked at once."""
        found = []
        for episode in episodes:
            key = (dataset.root, episode)
            if key not in self._known:
                done = self.episode(dataset, episode)
                self._known[key] = [each for each in done if each.task != dataset.episode_tasks[episode]]
            found += self._known[key]
        part = cut_out(dataset, inputs, found, without=HELD)
        return [] if part is None else [part]

    def episode(self, dataset: Dataset, episode: int) -> list[Achieved]:
        """What was done in one episode."""
        start, stop = map(int, dataset.episode_ranges[episode])
        answers = self._answers(dataset, np.arange(start, stop))
        yes = answers >= self.reward.threshold
        columns, hits = {question: column for column, question in enumerate(self.reward.questions)}, []
        for goal in self.goals:
            done = yes[:, columns[goal.question]]
            if goal.undone in columns:
                undone = yes[:, columns[goal.undone]]
                turns = _turns(done & ~undone, undone & ~done, self.consecutive, self.consecutive)
            else:
                turns = _turns(done, ~done, self.consecutive, CERTAIN)
            hits += [(frame, goal.instruction) for frame in turns]
        found = []
        for frame, instruction in sorted(hits):
            before = max((at + 1 for at, _ in hits if at < frame - APART), default=0)
            begun = start + max(before, frame - LONGEST)
            found.append(Achieved(begun, min(start + frame + 1 + self.linger, stop), instruction))
        return found

    def _answers(self, dataset: Dataset, rows: np.ndarray) -> np.ndarray:
        """P(yes) `(N, Q)`."""
        keys = [IMAGE_PREFIX + camera for camera in self.reward.cameras]
        missing = sorted(set(keys) - set(dataset.image_keys))
        if missing:
            raise RunError(
                f"{dataset.root}: the reward model looks through {missing}, recorded are {dataset.image_keys}"
            )
        parts = [
            self.reward.probabilities(
                {c: dataset.images(k, part) for c, k in zip(self.reward.cameras, keys, strict=True)}
            )
            for part in np.array_split(rows, max(1, -(-len(rows) // CHUNK)))
        ]
        return np.concatenate(parts)


def relabeller(folder: str, questions: Sequence[str] = ()) -> Relabeller | None:
    """With the reward model in a folder, for the goals in `questions` (`goals_of`); None for an empty name.

    Raises:
        RunError: as `goals_of` and `Relabeller`; or as `load_reward` does.
    """
    return Relabeller(load_reward(folder), goals_of(questions)) if folder else None


def _turns(yes: np.ndarray, no: np.ndarray, ups: int, downs: int) -> Sequence[int]:
    """The frames in which `ups` answers in a row had become yes, after `downs` of no in a row; each such no counts once."""
    turns, up, down, armed = [], 0, 0, False
    for frame, (is_yes, is_no) in enumerate(zip(yes, no, strict=True)):
        up, down = (up + 1 if is_yes else 0), (down + 1 if is_no else 0)
        armed = armed or down >= downs
        if armed and up >= ups:
            turns.append(frame)
            armed = False
    return turns
