"""Where the main job records and practises: on a ROS graph with the simulated robot, or in this process."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from robot_learning.data import Dataset
from robot_learning.data.metadata import INFO_PATH
from robot_learning.envs.tasks import task as task_named
from robot_learning.training.collection import collect_demonstrations
from robot_learning.training.continual import ContinualLearner, Progress, from_start
from robot_learning.training.graph_process import run_graph
from robot_learning.training.practice_env import Autonomy
from robot_learning.training.practice_log import Entry, read_entries
from robot_learning.training.progress import Preparation, ProgressBar
from robot_learning.training.self_imitation import PRACTICE, practise
from robot_learning.training.self_imitation_run import from_clone

ROBOT = "ur5e_2f85"
EPISODE = 70  # control ticks of an attempt; demonstrations take some 45
RECENT = 20  # episodes that the success shown in the progress bar is taken over
FAST = {"lockstep": "true", "real_time_factor": "0", "bags": "false"}
"""As fast as the machine can, with time waiting at each tick: a slow machine takes longer, and nothing else changes."""


class World(Protocol):
    """Both go on with what is there, and raise `KeyboardInterrupt` on Ctrl-C."""

    def record(
        self, dataset: Path, seeds: Mapping[str, int], demonstrations: int, failures: int, furniture: int
    ) -> None:
        """Fill `dataset` up to so many demonstrations and failures of each task.

        Args:
            seeds: of each task's first episode. furniture: seed of where the furniture stands.
        """

    def practise(
        self, run: Path, clone: Path, reward: Path, tasks: Sequence[str], steps: int, seed: int, furniture: int
    ) -> None:
        """Practise in the folder `run` for so many control ticks, from the run `clone`, judged by `reward`."""

    def entries(self, run: Path) -> list[Entry]:
        """The episodes of practice so far."""


class OneProcess:
    """No ROS: the simulated room in this process."""

    def __init__(self, image_size: int) -> None:
        self.image_size = image_size

    def record(
        self, dataset: Path, seeds: Mapping[str, int], demonstrations: int, failures: int, furniture: int
    ) -> None:
        """See `World`."""
        look: dict[str, Any] = {"failures": failures, "furniture": furniture}
        collect_demonstrations(dataset, seeds, demonstrations, self.image_size, **look)

    def practise(
        self, run: Path, clone: Path, reward: Path, tasks: Sequence[str], steps: int, seed: int, furniture: int
    ) -> None:
        """See `World`."""
        config = from_clone(clone, str(run), steps)
        config = dataclasses.replace(
            config,
            tasks=tuple(tasks),
            seed=seed,
            autonomy=Autonomy(reset_free=True, reward=str(reward), furniture=furniture, episode_steps=EPISODE),
        )
        if not practise(config, resume=True).finished:
            raise KeyboardInterrupt

    def entries(self, run: Path) -> list[Entry]:
        """See `World`."""
        if not (run / PRACTICE / INFO_PATH).is_file():
            return []
        dataset, found = Dataset(run / PRACTICE), []
        for episode, (start, end) in enumerate(dataset.episode_ranges.tolist()):
            info, task = dataset.episode_info(episode), dataset.episode_tasks[episode]
            solved, truth = bool(dataset.episode_success[episode]), info.get("true_success")
            found.append(Entry(task, solved, end - start, info["before"], true_success=truth, at=end / dataset.fps))
        return found


class GraphWorld:
    """The simulated robot behind its topics, and everybody else as a node. `logs`: folder for what they print."""

    def __init__(self, logs: Path) -> None:
        self.logs = logs

    def record(
        self, dataset: Path, seeds: Mapping[str, int], demonstrations: int, failures: int, furniture: int
    ) -> None:
        """See `World`."""
        total = (demonstrations + failures) * len(seeds)
        with ProgressBar("record", total, "episodes", sum(map(sum, self._counts(dataset, seeds).values()))) as bar:
            for task, seed in seeds.items():
                have = self._counts(dataset, seeds)[task]
                missing = max(demonstrations - have[0], 0), max(failures - have[1], 0)
                if any(missing):
                    arguments = record_arguments(dataset, task, missing, seed + 10 * sum(have), furniture)
                    run_graph("record", arguments, self.logs / "record.log", lambda: self._show(bar, dataset, seeds))
                self._show(bar, dataset, seeds)

    def _show(self, bar: ProgressBar, dataset: Path, seeds: Mapping[str, int]) -> None:
        bar.update(sum(map(sum, self._counts(dataset, seeds).values())))

    def _counts(self, dataset: Path, tasks: Mapping[str, int]) -> dict[str, tuple[int, int]]:
        """How many successes and failures of each task the recorder has committed."""
        if not (dataset / INFO_PATH).is_file():
            return dict.fromkeys(tasks, (0, 0))
        recorded = Dataset(dataset)
        outcomes = list(zip(recorded.episode_tasks, recorded.episode_success.tolist(), strict=True))
        return {
            name: (outcomes.count((words, True)), outcomes.count((words, False)))
            for name in tasks
            for words in [task_named(name).instruction]
        }

    def practise(
        self, run: Path, clone: Path, reward: Path, tasks: Sequence[str], steps: int, seed: int, furniture: int
    ) -> None:
        """See `World`. What the learner had no time for is learned at the end."""
        if sum(entry.ticks for entry in self.entries(run)) < steps:
            arguments = practice_arguments(run, clone, reward, tasks, steps, seed, furniture)
            with ProgressBar("practise", steps, "ticks", sum(entry.ticks for entry in self.entries(run))) as bar:

                def look() -> None:
                    entries = self.entries(run)
                    solved = [entry.solved for entry in entries if not entry.cut][-RECENT:]
                    bar.update(sum(entry.ticks for entry in entries), f"success {sum(solved)}/{len(solved)}")

                run_graph("practice", arguments, self.logs / "practice.log", look)
        _learn_the_rest(run, clone)

    def entries(self, run: Path) -> list[Entry]:
        """See `World`."""
        return read_entries(run)


def record_arguments(dataset: Path, task: str, missing: tuple[int, int], seed: int, furniture: int) -> dict[str, str]:
    """Of the graph `record`: so many demonstrations and failures of one task."""
    return {
        "dataset": str(dataset),
        "operator": "scripted",
        "task": task,
        "episodes": str(missing[0]),
        "failures": str(missing[1]),
        "seed": str(seed),
        "furniture": str(furniture),
        "environment_state": "true",  # answers the reward model's questions, as a person would who labels the pictures
        **FAST,
    }


def practice_arguments(
    run: Path, clone: Path, reward: Path, tasks: Sequence[str], steps: int, seed: int, furniture: int
) -> dict[str, str]:
    """Of the graph `practice`."""
    return {
        "run": str(run),
        "checkpoint": str(clone),
        "reward": str(reward),
        "tasks": ",".join(tasks),
        "steps": str(steps),
        "seed": str(seed),
        "furniture": str(furniture),
        "episode_ticks": str(EPISODE),
        **FAST,
    }


def _learn_the_rest(run: Path, clone: Path) -> None:
    """One more training if there are successes that no policy has learned from."""
    config, shown = dataclasses.replace(from_start(clone, run), min_new_successes=1), Preparation()

    def told(progress: Progress) -> None:
        if progress.steps:
            shown(f"learn the rest: {progress.phase}", "steps", progress.step, progress.steps)

    ContinualLearner(config, told).advance(threading.Event())
