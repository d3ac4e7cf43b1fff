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


def _demonstrate(env: gymnasium.Env[Any, Any], writer: DatasetWriter, task: str, seed: int, success: bool) -> bool:
    """One attempt, committed when it ends as wished; tells whether it did."""
    observation, info = env.reset(seed=seed, options={"task": task})
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
