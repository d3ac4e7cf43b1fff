"""Start a graph of nodes: simulation, teleoperation, recording, a policy, a real robot, practice, a reward model.

`robot-learning up NAME [argument:=value ...]` starts what `ros2 launch robot_learning NAME.launch.py` starts, also where ROS
came from pip and there is no `ros2 launch`. Ctrl-C stops everything.
"""

from __future__ import annotations

import importlib.util
import os
import shlex
from dataclasses import dataclass
from typing import Annotated

import tyro

from robot_learning.errors import UserError
from robot_learning.nodes import graph_checks, graphs, shared_memory
from robot_learning.nodes.supervisor import Supervisor, command, log_folder

__doc__ += "\n\nGraphs and their arguments:\n\n" + "\n\n".join(graphs.show(graph) for graph in graphs.GRAPHS.values())


class NoRosError(UserError, ImportError):
    """ROS 2 is not there."""


@dataclass(frozen=True)
class Config:
    """Flags of `robot-learning up`."""

    name: Annotated[str, tyro.conf.Positional, tyro.conf.arg(help=f"Which graph: {', '.join(graphs.GRAPHS)}.")]
    arguments: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    """What to choose differently, each as argument:=value."""
    show_args: bool = False
    """Only print the graph's arguments."""
    dry_run: bool = False
    """Only print the command lines of its nodes."""


def run(config: Config) -> int:
    """Start the graph and stay until it ends."""
    graph = graphs.graph(config.name)
    if config.show_args:
        print(graphs.show(graph))
        return 0
    values = graph.values(graphs.read_arguments(config.arguments))
    processes = graph.nodes(values)
    if config.dry_run:
        for name, value in graphs.environment().items():
            print(f"export {name}={shlex.quote(value)}")
        for process in processes:
            print(shlex.join(command(process, values["namespace"])))
        return 0
    require_ros()
    graph_checks.check(values, processes)
    shared_memory.remove_abandoned()
    return Supervisor(log_folder(graph.name)).run(
        processes, values["namespace"], {**os.environ, **graphs.environment(), "PYTHONUNBUFFERED": "1"}
    )


def require_ros() -> None:
    """Check that rclpy is there (`NoRosError` says how to get it)."""
    if importlib.util.find_spec("rclpy") is None:
        raise NoRosError(
            "rclpy is not installed: pip install '.[ros]' brings ROS 2 wheels; "
            "where ROS 2 is installed, source /opt/ros/<distro>/setup.bash first"
        )
