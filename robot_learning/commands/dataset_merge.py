"""Merge datasets of the same contract into a new one, without re-encoding.

robot-learning dataset merge monday tuesday --output both
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro
from rich.console import Console
from rich.progress import track

from robot_learning.data.merge import merge_datasets


@dataclass(frozen=True)
class Config:
    """Flags of `robot-learning dataset merge`."""

    sources: tyro.conf.Positional[tuple[Path, ...]]
    """Folders of the datasets, in the order their episodes will have."""
    output: Path
    """Folder of the new dataset."""


def run(config: Config) -> int:
    """Merge and print the count."""
    count = merge_datasets(
        config.sources, config.output, lambda items: track(items, "copying episodes", transient=True)
    )
    Console(highlight=False, soft_wrap=True).print(f"{config.output}: {count} episodes", markup=False)
    return 0
