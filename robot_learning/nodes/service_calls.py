"""Calling services from a thread that may wait, while an executor spins in another."""

from __future__ import annotations

import threading
from typing import Any

from rclpy.node import Node
from std_srvs.srv import Trigger

from robot_learning.errors import UserError

PATIENCE = 30.0  # [s, wall]


class ServiceError(UserError, RuntimeError):
    """A service is not there, does not answer, or refuses."""


class TriggerCaller:
    """A `std_srvs/Trigger` service as a function."""

    def __init__(self, node: Node, service: str) -> None:
        self._node = node
        self._client: Any = node.create_client(Trigger, service)
        self._name = node.resolve_service_name(service)

    def __call__(self, patience: float = PATIENCE) -> str:
        """Call it and wait for the answer's message, each for at most `patience` [s]; not from the executor's own thread.

        Raises:
            ServiceError: the service is missing, silent, or says no and why.
        """
        name = self._name
        if not self._client.wait_for_service(timeout_sec=patience):
            raise ServiceError(f"nobody offers the service {name} ({patience:g} s waited); is that node running?")
        answered = threading.Event()
        future = self._client.call_async(Trigger.Request())
        future.add_done_callback(lambda _: answered.set())
        if not answered.wait(patience):
            raise ServiceError(f"the service {name} has not answered for {patience:g} s")
        response = future.result()
        if not response.success:
            raise ServiceError(f"{name}: {response.message}")
        return str(response.message)

    def send(self) -> None:
        """Call it without waiting for the answer."""
        self._client.call_async(Trigger.Request())

    def destroy(self) -> None:
        """Take the client down."""
        self._node.destroy_client(self._client)
