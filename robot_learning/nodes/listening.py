"""Listening to a running graph from a command: health reports, topics, rates. Takes no part in it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter

from robot_learning.nodes.base import reliable
from robot_learning.nodes.shared_memory import sparing_dead_ports

LEVELS = {b"\x00": "OK", b"\x01": "WARN", b"\x02": "ERROR", b"\x03": "STALE"}
SILENT = 3.0  # a node whose reports, 1 Hz, stop for so long is shown as silent [s]


@dataclass(frozen=True)
class Report:
    """The last health report of a node; `age` since it came [s]."""

    name: str
    level: str
    message: str
    values: dict[str, str]
    age: float


@dataclass
class HealthListener:
    """Collects /diagnostics."""

    node: Node
    _latest: dict[str, tuple[Any, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.node.create_subscription(DiagnosticArray, "/diagnostics", self._on_array, reliable(50))

    def _on_array(self, message: DiagnosticArray) -> None:
        for status in message.status:
            self._latest[status.name] = (status, time.monotonic())

    def reports(self) -> list[Report]:
        """The last report of each node so far, by name."""
        now = time.monotonic()
        found = []
        for name, (status, came) in sorted(self._latest.items()):
            silent = now - came > SILENT
            found.append(
                Report(
                    name,
                    "SILENT" if silent else LEVELS[bytes(status.level)],
                    f"no report for {now - came:.0f} s; last: {status.message}" if silent else status.message,
                    {item.key: item.value for item in status.values},
                    now - came,
                )
            )
        return found


@contextmanager
def listener(
    name: str, namespace: str = "", use_sim_time: bool = False
) -> Iterator[tuple[Node, Callable[[float], None]]]:
    """A node of this process, and a function that lets it listen for some seconds. A namespace has a clock of its own."""
    context = rclpy.Context()
    context.init()
    clock = ["--ros-args", "-r", "/clock:=clock"] if namespace else []
    simulated = [Parameter("use_sim_time", value=use_sim_time)]
    with sparing_dead_ports():
        node = Node(name, namespace=namespace, context=context, cli_args=clock, parameter_overrides=simulated)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)

    def listen(seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while (rest := deadline - time.monotonic()) > 0:
            executor.spin_once(timeout_sec=rest)

    try:
        yield node, listen
    finally:
        executor.shutdown()
        node.destroy_node()
        context.try_shutdown()
