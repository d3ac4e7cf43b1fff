"""List the tasks of the playroom: name, instruction, question and the task that undoes it."""

from __future__ import annotations

from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from robot_learning.commands.main import OK
from robot_learning.envs.tasks import TASKS


@dataclass(frozen=True)
class Config:
    """Flags of `robot-learning tasks` (none)."""


def run(config: Config) -> int:
    """Print the table."""
    table = Table("task", "instruction", "question", "undone by")
    for task in TASKS.values():
        table.add_row(task.name, task.instruction, task.question, task.reverse or "-")
    Console().print(table)
    return OK
