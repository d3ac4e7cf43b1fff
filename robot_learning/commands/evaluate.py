"""Measure how often a policy succeeds in the simulator.

robot-learning evaluate runs/drawer --task open_drawer close_drawer --episodes 100
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import tyro
from rich.console import Console

from robot_learning.folders import checkpoint_at
from robot_learning.policies import loader
from robot_learning.settings import SettingError, at_least
from robot_learning.training.evaluation import evaluate, make_playroom, record_success
from robot_learning.training.pausing import tell


@dataclass(frozen=True)
class Config:
    """Flags of `robot-learning evaluate`."""

    checkpoint: tyro.conf.Positional[str]
    """Folder of the checkpoint, or of the run that made it (its last one)."""
    task: tuple[str, ...]
    """Tasks of the simulator, such as open_drawer."""
    episodes: int = 50
    """Episodes of each task."""
    seed: int = 100_000
    """Seed of the first episode of each task; episode i uses seed + i."""
    furniture: int | None = None
    """Seed of where the furniture stands in all episodes; none: elsewhere in each."""
    retry: bool = False
    """Give up an attempt that takes longer than the demonstrations did, go back and try again, within the same time limit."""
    processes: int = 2
    """Worker processes; they do not change the result."""
    video_dir: str | None = None
    """Where to save videos of a few successes and failures of each task."""
    videos: int = 2
    """How many of each."""
    json: bool = False
    """Print one JSON object instead of sentences."""
    record: bool = False
    """Write the result into the checkpoint's model card."""


def run(config: Config) -> int:
    """Evaluate and print the result."""
    if not config.task:
        raise SettingError("--task: expected at least one task of the simulator, such as open_drawer, found none")
    for flag, least in (("episodes", 1), ("processes", 0), ("seed", 0), ("videos", 0)):
        at_least(f"--{flag}", getattr(config, flag), least)
    if config.furniture is not None:
        at_least("--furniture", config.furniture, 0)
    checkpoint = _checkpoint(Path(config.checkpoint))
    result = evaluate(
        loader(checkpoint, config.retry),
        config.task,
        episodes=config.episodes,
        seed=config.seed,
        processes=config.processes,
        make_env=partial(make_playroom, furniture=config.furniture),
        video_dir=Path(config.video_dir) if config.video_dir else None,
        videos=config.videos,
    )
    if config.record:
        record_success(checkpoint, result.lines())
    if config.json:
        print(json.dumps(result.to_dict()))
        return 0
    console = Console(highlight=False)
    for line in result.lines():
        console.print(line)
    for path in result.videos:
        console.print(f"video: {path}")
    return 0


def _checkpoint(path: Path) -> Path:
    """The checkpoint that a path names: itself, or the last one of a run, of which is told."""
    checkpoint = checkpoint_at(path)
    if checkpoint != path:
        tell(f"Of the run {path} the checkpoint {checkpoint} is evaluated.")
    return checkpoint
