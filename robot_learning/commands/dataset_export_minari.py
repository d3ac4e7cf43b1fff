"""Export a dataset to Minari, Gymnasium's format for offline reinforcement learning.

robot-learning dataset export-minari runs/drawer --id kitchen/drawer-v0
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro
from rich.console import Console
from rich.progress import track

from robot_learning.data import Dataset
from robot_learning.data.minari_export import export_minari


@dataclass(frozen=True)
class Config:
    """Flags of `robot-learning dataset export-minari`."""

    root: tyro.conf.Positional[Path]
    """Folder of the dataset."""
    id: str
    """Id of the Minari dataset, such as kitchen/drawer-v0; it is written below MINARI_DATASETS_PATH (~/.minari/datasets)."""
    jpeg: bool = False
    """Store images as JPEG: smaller, not exact."""


def run(config: Config) -> int:
    """Export and print the count."""
    count = export_minari(
        Dataset(config.root), config.id, config.jpeg, lambda items: track(items, "exporting episodes", transient=True)
    )
    Console(highlight=False, soft_wrap=True).print(f"{config.id}: {count} episodes", markup=False)
    return 0
