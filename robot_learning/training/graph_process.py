"""A graph of nodes in a process of its own: the very command that a person would type, its output in a file."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import shlex
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path

from robot_learning.errors import UserError

POLL = 0.5  # [s]
LAST_LINES = 15
PARENT_DEATH_SIGNAL = 1  # prctl(2)
PATIENCE = 60.0  # for its end after Ctrl-C [s]; a recorder has to commit
LOCAL = {"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
"""A simulated robot must not be taken for a real one by somebody else's nodes in the same network."""


class GraphFailedError(UserError, RuntimeError):
    """A graph of nodes cannot be started here, or ended before its work was done."""


def command(name: str, arguments: Mapping[str, str]) -> str:
    """What a person would type to start the graph `name`."""
    return shlex.join(["robot-learning", "up", name, *(f"{key}:={value}" for key, value in arguments.items())])


def run_graph(name: str, arguments: Mapping[str, str], log: Path, look: Callable[[], None] = lambda: None) -> None:
    """Start the graph `name` (robot-learning up) and wait until it has ended by itself.

    Args:
        log: file that its output is appended to. look: called now and then meanwhile, to show how far it is.

    Raises:
        GraphFailedError: there is no ROS, or it ended with an error; names the log and its last lines.
        KeyboardInterrupt: Ctrl-C; the graph has been stopped then, as by its own Ctrl-C.
    """
    if importlib.util.find_spec("rclpy") is None:
        raise GraphFailedError(
            "rclpy is not installed: pip install '.[ros]' brings ROS 2 wheels (where ROS 2 is installed, source its setup.bash "
            "first); or leave ROS out with --no-ros"
        )
    log.parent.mkdir(parents=True, exist_ok=True)
    words = [sys.executable, "-m", "robot_learning.commands.main", "up", name]
    words += [f"{key}:={value}" for key, value in arguments.items()]
    with log.open("a", encoding="utf-8") as output:
        output.write(f"$ {command(name, arguments)}\n")
        output.flush()
        process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**LOCAL, **os.environ},
            start_new_session=True,  # Ctrl-C reaches it through `_stop`, once
            preexec_fn=end_with_parent,  # a job that is killed takes its graph with it
        )
        try:
            while process.poll() is None:
                look()
                time.sleep(POLL)
            look()
        finally:
            _stop(process)
    if process.returncode:
        raise GraphFailedError(
            f"{command(name, arguments)} ended with exit code {process.returncode}; the same command goes on. "
            f"Its last lines (all in {log}):\n" + "".join(f"    {line}" for line in _tail(log))
        )


def end_with_parent() -> None:
    """In a child, before it runs: SIGINT comes when the thread that started it is gone, also by a kill (Linux only)."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(PARENT_DEATH_SIGNAL, signal.SIGINT)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """As Ctrl-C does; what has not ended after `PATIENCE` is killed."""
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _tail(log: Path) -> list[str]:
    with log.open(encoding="utf-8", errors="replace") as lines:
        return list(deque(lines, LAST_LINES))
