"""Record scripted demonstrations or play of the simulated playroom into a dataset.

    robot-learning collect demonstrations --dataset datasets/drawer --tasks open_drawer close_drawer --episodes 20
    robot-learning collect play --dataset datasets/play --minutes 10

Ctrl-C at any moment: committed episodes stay, and the same command goes on.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import tyro

from robot_learning.commands.main import OK
from robot_learning.envs.demonstrator import PlayConfig
from robot_learning.envs.tasks import task as task_named
from robot_learning.settings import at_least, more_than
from robot_learning.training.collection import CollectionError, collect_demonstrations, collect_there_and_back
from robot_learning.training.play_collection import collect_play

SEEDS_PER_TASK = 1000  # demonstrations of the k-th task start from the seeds seed + 1000 k


@dataclass(frozen=True)
class Config:
    """Flags of `robot-learning collect`."""

    kind: tyro.conf.Positional[Literal["demonstrations", "play"]]
    """demonstrations: episodes that solve one task each; play: minutes of one thing after another."""
    dataset: Path
    """The dataset's folder; created, or added to when it has the same contract."""
    tasks: tuple[str, ...] = ("open_drawer", "close_drawer")
    """Tasks to demonstrate (robot-learning tasks lists them)."""
    episodes: int = 20
    """Successful demonstrations of each task."""
    there_and_back: bool = False
    """Demonstrations of two tasks that undo each other: each second one in the scene that the one before has left."""
    failures: int = 0
    """Episodes of each task that fail on purpose, in addition."""
    minutes: float = 10.0
    """Minutes of play the dataset shall hold."""
    play_with: tuple[str, ...] = ()
    """Play: the tasks to be tried, others only while none of these is possible; none: all."""
    cameras: tuple[str, ...] = ("front", "wrist")
    """Cameras to record."""
    image_size: int = 96
    """Height and width of the pictures [pixel]."""
    seed: int = 0
    """Seed of the first episode."""
    furniture: int | None = None
    """Demonstrations: seed of where the furniture stands in all of them; none: elsewhere in each."""


def run(config: Config) -> int:
    """Collect until the dataset holds what was asked for."""
    _require_numbers(config)
    if config.kind == "play":
        how = PlayConfig(tasks=tuple(task_named(name).name for name in config.play_with))
        collect_play(config.dataset, config.minutes, config.seed, config.image_size, config.cameras, how)
    elif config.there_and_back:
        names = tuple(task_named(name).name for name in config.tasks)
        if len(names) != 2 or config.failures:
            raise CollectionError(
                f"--there-and-back: expected two tasks and no --failures, found {list(names)} and {config.failures} failures"
            )
        view: dict[str, Any] = {"cameras": config.cameras, "furniture": config.furniture}
        collect_there_and_back(config.dataset, names, config.seed, config.episodes, config.image_size, **view)
    else:
        seeds = {task_named(name).name: config.seed + SEEDS_PER_TASK * k for k, name in enumerate(config.tasks)}
        look: dict[str, Any] = {"failures": config.failures, "furniture": config.furniture}
        collect_demonstrations(config.dataset, seeds, config.episodes, config.image_size, config.cameras, **look)
    print(f"The dataset is in {config.dataset}. Look at it: robot-learning dataset view {config.dataset}")
    return OK


def _require_numbers(config: Config) -> None:
    """Check what is asked for (`SettingError`)."""
    at_least("--image-size", config.image_size, 1)
    if config.kind == "play":
        more_than("--minutes", config.minutes, 0)
        return
    at_least("--failures", config.failures, 0)
    at_least("--episodes", config.episodes, 0 if config.failures else 1)
