"""Show how the running nodes are: rates, ages, latencies, lost frames, clamps, what the safety gate does.

Reads /diagnostics of this ROS domain. The exit code with --once is 0 when every node is well, else 1.
"""

from __future__ import annotations

import json
import math
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from robot_learning.commands.up import require_ros

if TYPE_CHECKING:
    from robot_learning.nodes.listening import Report

COLOURS = {"OK": "green", "WARN": "yellow", "ERROR": "red", "STALE": "red", "SILENT": "red"}
REFRESH = 0.25  # [s]


@dataclass(frozen=True)
class Config:
    """Flags of `robot-learning status`."""

    once: bool = False
    """Print one table and end, instead of following until Ctrl-C."""
    json: bool = False
    """With --once: print one JSON object instead of a table."""
    wait: float = 2.5
    """With --once: how long to listen before printing [s]; nodes report once a second."""
    seconds: float = math.inf
    """Without --once: stop after so long [s]."""


def run(config: Config) -> int:
    """Follow the reports; with --once, 1 when nobody reports or somebody is not well."""
    require_ros()
    from robot_learning.nodes.listening import HealthListener, listener

    with listener("robot_learning_status") as (node, listen):
        health = HealthListener(node)
        if config.once:
            listen(config.wait)
            return _print(health.reports(), config.json)
        deadline = time.monotonic() + config.seconds
        with Live(table([]), console=Console(), auto_refresh=False) as live:
            while time.monotonic() < deadline:
                listen(REFRESH)
                live.update(table(health.reports()), refresh=True)
    return 0


def _print(reports: list[Report], as_json: bool) -> int:
    well = bool(reports) and all(report.level in ("OK", "WARN") for report in reports)
    if as_json:
        print(json.dumps({"well": well, "nodes": [asdict(report) for report in reports]}))
    else:
        Console().print(table(reports))
    return 0 if well else 1


def table(reports: list[Report]) -> Table:
    """One row for each node."""
    shown = Table(
        "node", "level", "what it says", "values", title=None if reports else "no node reports in this ROS domain"
    )
    for report in reports:
        values = Text(", ".join(f"{key} {value}" for key, value in report.values.items()))
        shown.add_row(report.name, Text(report.level, COLOURS[report.level]), Text(report.message), values)
    return shown
