"""Give the running graph an instruction: `robot-learning ask "close the drawer"`.

Policy, recorder and simulation hear it on the topic `task`. A playroom task's name (close_drawer) stands for its instruction.
"""

from __future__ import annotations

from dataclasses import dataclass

import tyro

from robot_learning.commands.up import require_ros


@dataclass(frozen=True)
class Config:
    """Flags of `robot-learning ask`."""

    instruction: tyro.conf.Positional[str]
    """What the robot shall do: an instruction, or the name of a playroom task (robot-learning tasks)."""
    namespace: str = ""
    """The robot's namespace."""
    wait: float = 5.0
    """How long to wait for somebody who listens [s]."""


def run(config: Config) -> int:
    """Publish it; says who heard. Nobody listening is an error (2)."""
    require_ros()
    from robot_learning.envs.tasks import TASKS
    from robot_learning.nodes.talking import ask

    known = TASKS.get(config.instruction)
    instruction = known.instruction if known else config.instruction
    print(f"{instruction}: heard by {', '.join(ask(instruction, config.namespace, config.wait))}")
    return 0
