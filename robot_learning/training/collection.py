"""Scripted demonstrations into a dataset, going on with what is already there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

import robot_learning.envs  # noqa: F401  registers the environments
from robot_learning.data import Dataset, DatasetWriter
from robot_learning.envs.demonstrator import Demonstrator, DemonstratorConfig
from robot_learning.envs.tasks import task as task_named
from robot_learning.errors import UserError
from robot_learning.training.progress import ProgressBar

LINGER = (
    5  # ticks a demonstration goes on after success: a clone of one that stops at the threshold stops just before it
)
FAILURE_SEEDS = 500  # failures on purpose start this far from the first seed of their task
ATTEMPTS = 10  # without a success in a row before giving up


class CollectionError(UserError, RuntimeError):
    """The demonstrator does not get a task done."""


def collect_demonstrations(
    root: Path,
    first_seeds: Mapping[str, int],
    episodes: int,
    image_size: int = 96,
    cameras: tuple[str, ...] = ("front", "wrist"),
    failures: int = 0,
    furniture: int | None = None,
) -> None:
    """Fill the dataset at `root` up to `episodes` successful demonstrations of each task of `first_seeds`.

    `failures` more episodes of each task fail on purpose. Attempts start from the seeds `first_seeds[task]` and up; those
    that do not end as wished are not kept. Each episode is committed on its own and depends on its seed only, so that an
    interrupted collection goes on to the very dataset it would have become.

    Args:
        furniture: seed of where the furniture stands in all episodes; None: elsewhere in each.

    Raises:
        CollectionError: the demonstrator failed too often.
        DatasetError: the dataset there has another contract. DatasetLockedError: someone else is writing to it.
    """
    task = next(iter(first_seeds))
    look: dict[str, Any] = {"cameras": cameras, "image_size": image_size, "furniture": furniture}
    env = gymnasium.make("robot_learning/Playroom-v0", task=task, **look)
    try:
        contract = env.unwrapped.contract  # type: ignore[attr-defined]
        with (
            DatasetWriter.open_or_create(root, contract) as writer,
            ProgressBar("collect", (episodes + failures) * len(first_seeds), "episodes", writer.num_episodes) as bar,
        ):
            for task, first in first_seeds.items():
                for wanted, number, start in ((True, episodes, first), (False, failures, first + FAILURE_SEEDS)):
                    have, seed = _progress(root, task, start, wanted)
                    _collect_task(env, writer, bar, task, seed, number - have, wanted)
    finally:
        env.close()


def collect_there_and_back(
    root: Path,
    tasks: tuple[str, str],
    first_seed: int,
    episodes: int,
    image_size: int = 96,
    cameras: tuple[str, ...] = ("front", "wrist"),
    furniture: int | None = None,
) -> None:
    """Fill the dataset at `root` up to `episodes` demonstrations of a task and of the one that undoes it, as in practice.

    One is shown from a start of its own, then the arm goes home and the other is shown in the scene that the first has left; the
    next begin with the other one, from another start. So half of the demonstrations begin where practice will: what was put into
    a shelf lies otherwise than where somebody lays it.

    Args:
        first_seed: of the first start; every other has the next.

    Raises:
        CollectionError: the tasks do not undo each other, or the demonstrator failed too often.
        DatasetError: the dataset there has another contract. DatasetLockedError: someone else is writing to it.
    """
    if task_named(tasks[0]).reverse != tasks[1]:
        raise CollectionError(f"there and back: expected a task and the one that undoes it, found {list(tasks)}")
    look: dict[str, Any] = {"cameras": cameras, "image_size": image_size, "furniture": furniture}
    env = gymnasium.make("robot_learning/PlayroomResetFree-v0", task=tasks[0], max_episode_steps=150, **look)
    try:
        contract = env.unwrapped.contract  # type: ignore[attr-defined]
        with (
            DatasetWriter.open_or_create(root, contract) as writer,
            ProgressBar("collect", 2 * episodes, "episodes", writer.num_episodes) as bar,
        ):
            told = {task: _progress(root, task, first_seed, True) for task in tasks}
            missing = {task: episodes - have for task, (have, _) in told.items()}
            seed, in_vain = max(following for _, following in told.values()), 0
            while max(missing.values()) > 0:
                order = sorted(tasks if seed % 2 == 0 else tasks[::-1], key=lambda task: missing[task] <= 0)
                shown = _there_and_back(env, writer, [task for task in order if missing[task] > 0], seed)
                for task in shown:
                    missing[task] -= 1
                bar.update(writer.num_episodes, order[0])
                in_vain = 0 if shown else in_vain + 1
                if in_vain == ATTEMPTS:
                    raise CollectionError(f"{order[0]}: no success in {ATTEMPTS} attempts in a row, up to seed {seed}")
                seed += 1
    finally:
        env.close()


def _there_and_back(env: gymnasium.Env[Any, Any], writer: DatasetWriter, tasks: list[str], seed: int) -> list[str]:
    """The first task from a start of its own, the other in the scene that it has left; those that were done, and committed."""
    done: list[str] = []
    for task in tasks:
        if not _demonstrate(env, writer, task, seed, True, {"full_reset": not done}):
            break
        done.append(task)
    return done


def _progress(root: Path, task: str, first: int, success: bool) -> tuple[int, int]:
    """How many such episodes of a task the dataset has, and the next seed to try."""
    dataset = Dataset(root)
    instruction = task_named(task).instruction
    outcomes = zip(dataset.episode_tasks, dataset.episode_success, strict=True)
    mine = [e for e, outcome in enumerate(outcomes) if outcome == (instruction, success)]
    return len(mine), max([dataset.episode_info(e)["seed"] + 1 for e in mine], default=first)


def _collect_task(
    env: gymnasium.Env[Any, Any],
    writer: DatasetWriter,
    bar: ProgressBar,
    task: str,
    seed: int,
    missing: int,
    success: bool,
) -> None:
    failed = 0
    while missing > 0:
        if _demonstrate(env, writer, task, seed, success):
            missing, failed = missing - 1, 0
            bar.update(writer.num_episodes, task)
        else:
            failed += 1
            if failed == ATTEMPTS:
                wish = "success" if success else "failure on purpose"
                raise CollectionError(f"{task}: no {wish} in {ATTEMPTS} attempts in a row, up to seed {seed}")
        seed += 1


def _demonstrate(
    env: gymnasium.Env[Any, Any],
    writer: DatasetWriter,
    task: str,
    seed: int,
    success: bool,
    options: Mapping[str, Any] | None = None,
) -> bool:
    """One attempt, committed when it ends as wished; tells whether it did. `options`: of the reset, besides the task."""
    observation, info = env.reset(seed=seed, options={"task": task, **(options or {})})
    room: Any = env.unwrapped
    config = DemonstratorConfig(failure_rate=0.0 if success else 1.0)
    demonstrator = Demonstrator(room.room, np.random.default_rng(seed), config)
    demonstrator.reset(task)
    instruction, over, solved, rest = info["instruction"], False, False, LINGER
    while not over:
        action = demonstrator.act()
        following, reward, _, truncated, info = env.step(action)
        solved = solved or info["is_success"]
        rest -= int(solved)
        over = rest < 0 or truncated or (demonstrator.failing and demonstrator.given_up)
        outcome = {
            "next.reward": np.array([reward], np.float32),
            "next.done": np.array([over]),
            "next.success": np.array([info["is_success"]]),
        }
        writer.add_frame({**observation, "action": action, **outcome}, task=instruction)
        observation = following
    if solved != success:
        writer.discard_episode()
        return False
    writer.save_episode(success=success, info={"seed": seed, "source": "scripted", "way": int(demonstrator.way)})
    return True
