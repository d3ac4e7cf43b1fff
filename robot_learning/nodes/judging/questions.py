"""The question that belongs to an instruction. Who only needs to know it, loads no model for it."""

from __future__ import annotations

from collections.abc import Sequence

from robot_learning.envs.tasks import TASKS
from robot_learning.nodes.parameters import ParameterError


def questions_of(entries: Sequence[str]) -> dict[str, str]:
    """The question of each instruction: those of the playroom's tasks, by instruction and name, and `entries` before them.

    Args:
        entries: each "instruction = question".

    Raises:
        ParameterError: an entry is not of that form.
    """
    known = {task.instruction: task.question for task in TASKS.values()}
    known |= {name: task.question for name, task in TASKS.items()}
    for entry in entries:
        instruction, separator, question = (part.strip() for part in entry.partition("="))
        if not (separator and instruction and question):
            raise ParameterError(f"reward: questions: expected 'instruction = question', found {entry!r}")
        known[instruction] = question
    return known
