"""Check every file of a dataset and list every problem; exit code 1 when there is one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro
from rich.console import Console
from rich.progress import track

from robot_learning.data.check import check


@dataclass(frozen=True)
class Config:
    """Flags of `robot-learning dataset check`."""

    root: tyro.conf.Positional[Path]
    """Folder of the dataset."""
    decode: bool = True
    """Also decode every image, the slow part."""


def run(config: Config) -> int:
    """Print the problems."""
    report = check(config.root, lambda rows: track(rows, "checking episodes", transient=True), config.decode)
    console = Console(highlight=False, soft_wrap=True)
    for note in report.notes:
        console.print(f"note: {note} (readers see whole episodes only; the next writer puts it right)", markup=False)
    for problem in report.problems:
        console.print(f"problem: {problem}", markup=False)
    console.print(f"{report.episodes} episodes, {report.frames} frames: {len(report.problems)} problems")
    if report.problems:
        console.print(f"Mend it with: robot-learning dataset repair {config.root}", markup=False)
    return 1 if report.problems else 0
