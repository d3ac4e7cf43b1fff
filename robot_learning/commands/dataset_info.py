"""Tell what is in a dataset: episodes, tasks, success, features and units, contract."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from robot_learning.data import Dataset


@dataclass(frozen=True)
class Config:
    """Flags of `robot-learning dataset info`."""

    root: tyro.conf.Positional[Path]
    """Folder of the dataset."""
    elements: bool = False
    """Name every element of each feature with its unit, not only the first and the last."""
    json: bool = False
    """Print one JSON object instead of tables."""


def run(config: Config) -> int:
    """Print the overview."""
    dataset = Dataset(config.root)
    overview = summary(dataset)
    if config.json:
        print(json.dumps(overview))
        return 0
    console = Console(highlight=False)
    contract = "none (a dataset of another tool)"
    if dataset.contract is not None:
        contract = f"{dataset.contract.name} ({dataset.contract.hash()})"
    console.print(
        f"[bold]{escape(str(config.root))}[/bold]  LeRobot {dataset.info['codebase_version']}, contract {escape(contract)}"
    )
    console.print(
        f"{overview['episodes']} episodes, {overview['frames']} frames at {dataset.fps} Hz, {overview['seconds']:.0f} s"
    )
    tasks = Table("task", "episodes", "successes", "frames")
    for task, counts in overview["tasks"].items():
        tasks.add_row(escape(task), str(counts["episodes"]), str(counts["successes"]), str(counts["frames"]))
    console.print(tasks)
    features = Table("feature", "type", "shape", "elements", "min", "max")
    for key, feature in dataset.features.items():
        stats = dataset.stats.get(key) if dataset.num_frames else None
        elements = [f"{n} [{u}]" for n, u in zip(feature.names, feature.units, strict=False)] or list(feature.names)
        shown = ", ".join(elements if config.elements else elements[:2])
        shown += "" if config.elements or len(elements) <= 2 else f" ... {elements[-1]}"
        low, high = (f"{stats.min.min():.3g}", f"{stats.max.max():.3g}") if stats else ("", "")
        features.add_row(escape(key), feature.dtype, str(feature.shape), escape(shown), low, high)
    console.print(features)
    return 0


def summary(dataset: Dataset) -> dict[str, Any]:
    """The counts, ready for JSON."""
    tasks: dict[str, dict[str, int]] = {}
    for task, success, (start, end) in zip(
        dataset.episode_tasks, dataset.episode_success, dataset.episode_ranges, strict=True
    ):
        counts = tasks.setdefault(task, {"episodes": 0, "successes": 0, "frames": 0})
        counts["episodes"] += 1
        counts["successes"] += int(success)
        counts["frames"] += int(end - start)
    return {
        "root": str(dataset.root),
        "episodes": dataset.num_episodes,
        "frames": dataset.num_frames,
        "fps": dataset.fps,
        "seconds": dataset.num_frames / dataset.fps,
        "tasks": tasks,
        "features": list(dataset.features),
        "contract": dataset.contract.hash() if dataset.contract else None,
    }
