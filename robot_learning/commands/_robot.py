"""The robot among the environments: where a run practises on one, it is registered before the run makes it."""

from __future__ import annotations

import os
from pathlib import Path

from robot_learning.commands.up import require_ros
from robot_learning.training.config import FILE, read_plain
from robot_learning.training.practice_env import ROBOT


def register(run: str | Path, env: str) -> None:
    """Join ROS 2 if the run in this folder, or a new one with the environment `env`, is on a robot.

    Raises:
        NoRosError: ROS 2 is not there.
    """
    started = (Path(run) / FILE).is_file()
    if (read_plain(Path(run)).get("env") if started else env) != ROBOT:
        return
    require_ros()
    from robot_learning.nodes import graphs

    os.environ.update(graphs.environment())
    import robot_learning.nodes.ros_env  # noqa: F401  registers it
