"""Running a node as a process: start, spin, and stop in good order on SIGINT or SIGTERM, however often they come."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

import cv2
import rclpy
from rclpy.executors import Executor, SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions

from robot_learning.errors import UserError
from robot_learning.nodes.base import RobotNode
from robot_learning.nodes.shared_memory import sparing_dead_ports

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
SIGNAL_CHECK = 0.05  # [s]
SWITCH = (
    5e-4  # a thread that waits for the interpreter asks for it this soon; Python's own 5 ms are long beside a tick [s]
)


def make_executor(context: Any = None) -> Executor:
    """The executor with the least overhead that this ROS distribution has (the events executor from Kilted on)."""
    try:
        from rclpy.experimental import EventsExecutor
    except ImportError:  # Humble, Jazzy
        return SingleThreadedExecutor(context=context)
    return EventsExecutor(context=context)


def run(make: Callable[[], RobotNode[Any]], args: list[str] | None = None) -> int:
    """The life of a node's process; returns its exit code: 0 after a stop by signal, 2 for a mistake of the user's.

    A stop signal is only noted, and looked for between callbacks: it neither interrupts a callback nor, coming twice (a
    launcher's and the terminal's), the shutdown. On stop an active node is deactivated: the robot holds, recordings are
    closed.
    """
    sys.setswitchinterval(SWITCH)
    cv2.setNumThreads(1)
    stop = threading.Event()
    for number in STOP_SIGNALS:
        signal.signal(number, lambda *_: stop.set())
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)  # `robot-learning up` holds them back until here
    try:
        try:
            with sparing_dead_ports():
                rclpy.init(args=args if args is not None else sys.argv, signal_handler_options=SignalHandlerOptions.NO)
                node = make()
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
        try:
            return _spin(node, stop)
        finally:
            node.destroy_node()
    finally:
        rclpy.try_shutdown()
        # at its end the interpreter gives its handlers up, and one more signal would kill: exit code -2
        for number in STOP_SIGNALS:
            signal.signal(number, signal.SIG_IGN)


def run_to_end(make: Callable[[], RobotNode[Any]], args: list[str] | None = None) -> int:
    """`run`, for a node that has an end of its own: the exit code is 1 when it says that it `failed`."""
    made: list[Any] = []

    def make_one() -> RobotNode[Any]:
        made.append(make())
        return made[0]

    code = run(make_one, args)
    return code or int(bool(made) and made[0].failed)


def _spin(node: RobotNode[Any], stop: threading.Event) -> int:
    executor = make_executor()
    executor.add_node(node)
    while not stop.is_set():
        executor.spin_once(timeout_sec=SIGNAL_CHECK)
    if node.is_active:
        node.trigger_deactivate()
    executor.remove_node(node)
    executor.shutdown()
    return 0
