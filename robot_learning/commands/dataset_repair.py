"""Make a damaged dataset whole: damaged episodes move to quarantine/, the rest is renumbered."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro
from rich.console import Console
from rich.progress import track

from robot_learning.data.repair import repair


@dataclass(frozen=True)
class Config:
    """Flags of `robot-learning dataset repair`."""

    root: tyro.conf.Positional[Path]
    """Folder of the dataset."""


def run(config: Config) -> int:
    """Repair and tell what was kept."""
    result = repair(config.root, lambda rows: track(rows, "checking episodes", transient=True))
    console = Console(highlight=False, soft_wrap=True)
    for text in result.rebuilt:
        console.print(f"rebuilt {text}", markup=False)
    for text in result.quarantined:
        console.print(f"quarantined {text}", markup=False)
    moved = [f"{old} is now {new}" for new, old in enumerate(result.kept) if old != new]
    console.print(f"kept {len(result.kept)} episodes{': episode ' + ', '.join(moved) if moved else ''}")
    return 0
