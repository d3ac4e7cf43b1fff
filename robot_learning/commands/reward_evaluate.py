"""Judge a reward model on datasets: false positives and negatives, AUC, calibration, and the pictures it got most wrong.

robot-learning reward evaluate runs/reward --dataset datasets/test
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import tyro
from rich.console import Console
from rich.table import Table

from robot_learning.commands.main import OK
from robot_learning.rewards import Quality, load_reward
from robot_learning.training.progress import ProgressBar
from robot_learning.training.reward_evaluation import evaluate_reward
from robot_learning.training.reward_labels import SOURCES
from robot_learning.training.reward_page import columns, summary_of_ends, write_page


@dataclass(frozen=True)
class Config:
    """Flags of `robot-learning reward evaluate`."""

    model: tyro.conf.Positional[Path]
    """Folder of the reward model."""
    dataset: tuple[Path, ...]
    """Folders of datasets that it was not trained on."""
    labels: tuple[str, ...] = SOURCES
    """Where the truth comes from; later ones override: success, simulator, file (labels.csv)."""
    stride: int = 1
    """Use every n-th labelled frame."""
    tolerance: float = 0.0
    """Leave out simulated frames in which this much would turn the answer [m]."""
    consecutive: int = 2
    """So many frames in a row with "yes" end an episode."""
    worst: int = 24
    """Pictures on the page."""
    page: Path | None = None
    """The HTML page; `evaluation.html` in the model's folder when absent."""
    json: bool = False
    """Print one JSON object instead of a table."""


def run(config: Config) -> int:
    """Evaluate, print and write the page."""
    model = load_reward(config.model)
    with ProgressBar("evaluate", 1, "frames") as bar:
        result = evaluate_reward(
            model,
            config.dataset,
            config.labels,
            config.stride,
            tolerance=config.tolerance,
            consecutive=config.consecutive,
            worst=config.worst,
            report=lambda done, words: bar.update(0, f"{done} {words}"),
        )
    title = f"{config.model.name} on {', '.join(root.name for root in config.dataset)}"
    console = wide_console()
    if config.json:
        print(json.dumps(result.to_dict()))
    else:
        console.print(quality_table({**result.questions, "all": result.all}, title))
        console.print(summary_of_ends(result))
    # last: where it cannot be written, what took long is not lost
    page = write_page(config.page or config.model / "evaluation.html", title, result)
    if not config.json:
        console.print(f"Most wrong pictures: {page}")
    return OK


def wide_console() -> Console:
    """A console in which a table of questions keeps its lines whole, also where the width of the terminal is not known.

    Brackets in a question or a folder's name are no markup.
    """
    console = Console(highlight=False, soft_wrap=True, markup=False)
    return console if console.is_terminal else Console(highlight=False, soft_wrap=True, markup=False, width=130)


def quality_table(rows: Mapping[str, Quality], title: str) -> Table:
    """A line for each question."""
    table = Table(title=title, title_justify="left")
    table.add_column("question")
    for name in ("yes", "no", "false positives", "false negatives", "AUC", "calibration error"):
        table.add_column(name, justify="right")
    for text, quality in rows.items():
        table.add_row(text, *columns(quality))
    return table
