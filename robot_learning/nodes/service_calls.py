"""Calling services from a thread that may wait, while an executor spins in another."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import Any

from rclpy.node import Node
from std_srvs.srv import Trigger

from robot_learning.errors import UserError

PATIENCE = 30.0  # [s, wall]
AGAIN = 3.0  # who calls nodes that may die repeats a request without an answer after so long [s, wall]
LOOK = 0.01  # how often it is looked whether what is waited for has come [s]


class ServiceError(UserError, RuntimeError):
    """A service is not there, does not answer, or refuses."""


class TriggerCaller:
    """A `std_srvs/Trigger` service as a function.

    Args:
        again: the request is repeated after so long without an answer [s]. A server that was killed stays in the graph until its
            lease ends, and what is sent meanwhile may reach only the dead one, though another has taken its place. What is asked
            for must be of a kind that does no harm twice.
    """

    def __init__(self, node: Node, service: str, again: float = math.inf) -> None:
        self._node, self._again = node, again
        self._client: Any = node.create_client(Trigger, service)
        self._name = node.resolve_service_name(service)

    def __call__(self, patience: float = PATIENCE, stop: Callable[[], bool] = lambda: False) -> str:
        """Call it and wait for the answer's message, each for at most `patience` [s]; not from the executor's own thread.

        Args:
            stop: whether to give up waiting.

        Raises:
            ServiceError: the service is missing, silent, gone, or says no and why; or it was given up.
        """
        name, ready = self._name, self._client.service_is_ready
        if not _wait(ready, patience, stop):
            raise ServiceError(f"nobody offers the service {name} ({patience:g} s waited); is that node running?")
        answered, sent, deadline = threading.Event(), list[Any](), time.monotonic() + patience
        while not answered.is_set():
            left = deadline - time.monotonic()
            if stop() or left <= 0.0 or not ready():
                reason = f"for {patience:g} s" if ready() else "and is gone"
                raise ServiceError(f"the service {name} has not answered {reason}")
            sent.append(self._client.call_async(Trigger.Request()))
            sent[-1].add_done_callback(lambda _: answered.set())
            _wait(answered.is_set, min(left, self._again), lambda: stop() or not ready())
        response = next(future for future in sent if future.done()).result()
        if not response.success:
            raise ServiceError(f"{name}: {response.message}")
        return str(response.message)

    @property
    def is_offered(self) -> bool:
        """Whether anybody offers it now."""
        return bool(self._client.service_is_ready())

    def send(self) -> None:
        """Call it without waiting for the answer."""
        self._client.call_async(Trigger.Request())

    def destroy(self) -> None:
        """Take the client down."""
        self._node.destroy_client(self._client)


def _wait(condition: Callable[[], bool], patience: float, stop: Callable[[], bool]) -> bool:
    """Until it is true, or `stop()`, or `patience` [s] is over; whether it is."""
    deadline = time.monotonic() + patience
    while not condition() and not stop() and time.monotonic() < deadline:
        time.sleep(LOOK)
    return condition()
