"""The graphs as launch descriptions, for `ros2 launch`. Needs a ROS installation with launch_ros."""

from __future__ import annotations

import time
from typing import Any

from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    GroupAction,
    LogInfo,
    OpaqueFunction,
    RegisterEventHandler,
    SetEnvironmentVariable,
    TimerAction,
)
from launch.event_handlers import OnProcessExit
from launch.events import Shutdown
from launch.launch_context import LaunchContext
from launch.launch_description import LaunchDescription
from launch_ros.actions import Node, PushRosNamespace

from robot_learning.nodes import graphs
from robot_learning.nodes.graphs import Argument, Process
from robot_learning.nodes.respawning import Respawns, prospect
from robot_learning.nodes.supervisor import death

PACKAGE = "robot_learning"


def description(name: str) -> LaunchDescription:
    """The launch description of the graph `name`: its arguments, and its nodes once their values are known."""
    graph = graphs.graph(name)

    def start(context: LaunchContext) -> list[Any]:
        given = {argument.name: context.launch_configurations[argument.name] for argument in graph.arguments}
        processes = graph.processes(given)
        nodes = [_node(process) for process in processes]
        namespace = [PushRosNamespace(given["namespace"])] if given["namespace"] else []
        variables = [SetEnvironmentVariable(key, value) for key, value in graphs.environment().items()]
        respawns = Respawns()
        ends = [_end(process, node, namespace, respawns) for process, node in zip(processes, nodes, strict=True)]
        return [*variables, *ends, GroupAction([*namespace, *nodes])]

    return LaunchDescription([*map(_declaration, graph.arguments), OpaqueFunction(function=start)])


def _declaration(argument: Argument) -> DeclareLaunchArgument:
    options: dict[str, Any] = {"choices": list(argument.choices)} if argument.choices else {}
    if argument.default is not None:
        options["default_value"] = argument.default
    return DeclareLaunchArgument(argument.name, description=argument.description, **options)


def _node(process: Process) -> Node:
    return Node(
        package=PACKAGE,
        executable=process.executable,
        name=process.name,
        parameters=[*process.parameter_files, process.parameters],
        remappings=list(process.remappings),
        ros_arguments=["--log-level", process.log_level],
        output="screen",
        # launch gives its processes a pipe for standard input
        prefix="sh -c 'exec \"$@\" < /dev/tty' sh" if process.terminal else None,
    )


def _end(process: Process, node: Node, namespace: list[Any], respawns: Respawns) -> RegisterEventHandler:
    """When a required node ends, everything stops; of the others it is said that they are gone, or they are started again."""
    began = time.monotonic()

    def on_exit(event: Any, context: LaunchContext) -> list[Any]:
        if context.is_shutdown:
            return []
        how = death(event.returncode)
        if process.required and event.returncode == 0:
            return [EmitEvent(event=Shutdown(reason=f"{process.name} ended"))]
        if process.required:
            return [EmitEvent(event=Shutdown(reason=f"{process.name} ended ({how}), and nothing runs without it"))]
        gone = LogInfo(msg=f"{process.name} died ({how}); the others go on, the safety gate holds while it needs it")
        if not process.respawn:
            return [gone]
        pause = respawns.pause(process.name, time.monotonic() - began)
        again = [] if pause is None else [_again(process, pause, namespace, respawns)]
        return [gone, LogInfo(msg=prospect(process.name, pause)), *again]

    return RegisterEventHandler(OnProcessExit(target_action=node, on_exit=on_exit))


def _again(process: Process, pause: float, namespace: list[Any], respawns: Respawns) -> TimerAction:
    """Start a node again after a pause [s]. The respawn of launch itself knows neither growing pauses nor, in Humble, an end."""
    node = _node(process)

    def start(context: LaunchContext) -> list[Any]:
        return [_end(process, node, namespace, respawns), GroupAction([*namespace, node])]

    return TimerAction(period=pause, actions=[OpaqueFunction(function=start)])
