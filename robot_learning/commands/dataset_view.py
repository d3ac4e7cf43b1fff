"""Show a dataset to a person: contact sheets per task, a video grid and a page of them all."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro
from rich.console import Console
from rich.progress import track

from robot_learning.data import Dataset
from robot_learning.data.view import view


@dataclass(frozen=True)
class Config:
    """Flags of `robot-learning dataset view`."""

    root: tyro.conf.Positional[Path]
    """Folder of the dataset."""
    output: Path | None = None
    """Folder for the pictures; beside the dataset, with `_view` added to its name, when absent."""
    camera: tuple[str, ...] = ()
    """Cameras to show, such as front wrist; all when empty."""
    columns: int = 8
    """Frames in a row."""
    height: int = 144
    """Height of a frame [pixels]."""
    episodes: int = 8
    """Episodes of each task."""
    row_seconds: float = 20.0
    """A longer episode takes several rows [s]."""
    video: bool = False
    """Also an mp4 of each task with its episodes side by side."""


def run(config: Config) -> int:
    """Write the pictures and print where they are."""
    output = config.output or config.root.resolve().with_name(config.root.resolve().name + "_view")
    page = view(
        Dataset(config.root),
        output,
        config.camera,
        config.columns,
        config.height,
        config.episodes,
        config.row_seconds,
        config.video,
        lambda tasks: track(tasks, "drawing tasks", transient=True),
    )
    Console(highlight=False, soft_wrap=True).print(f"open {page}", markup=False)
    return 0
