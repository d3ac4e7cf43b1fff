"""Speaking to a running graph from a command: services and instructions."""

from __future__ import annotations

import time
from typing import Any

from std_msgs.msg import String
from std_srvs.srv import Trigger

from robot_learning.nodes.base import latched
from robot_learning.nodes.listening import listener
from robot_learning.nodes.service_calls import ServiceError

STEP = 0.05  # [s]
LINGER = 0.5  # a message needs so long to get to everybody before its publisher goes [s]


def call(service: str, namespace: str = "", wait: float = 5.0) -> str:
    """Call a `std_srvs/Trigger` service and return its answer.

    Raises:
        ServiceError: nobody offers it (the message lists those there are), it does not answer, or it says no.
    """
    with listener("robot_learning_call", namespace) as (node, listen):
        client: Any = node.create_client(Trigger, service)
        name = node.resolve_service_name(service)
        deadline = time.monotonic() + wait
        while not client.service_is_ready():
            if time.monotonic() > deadline:
                offered = sorted(
                    found
                    for found, kinds in node.get_service_names_and_types()
                    if "std_srvs/srv/Trigger" in kinds and found != name
                )
                raise ServiceError(f"nobody offers {name}; services of this kind that run now: {offered or 'none'}")
            listen(STEP)
        future = client.call_async(Trigger.Request())
        deadline = time.monotonic() + wait
        while not future.done():
            if time.monotonic() > deadline:
                raise ServiceError(f"{name} has not answered for {wait:g} s; --wait waits longer")
            listen(STEP)
        response = future.result()
        assert response is not None
        if not response.success:
            raise ServiceError(f"{name}: {response.message}")
        return str(response.message)


def ask(instruction: str, namespace: str = "", wait: float = 5.0) -> list[str]:
    """Publish an instruction on `task`; returns the names of the nodes that listen.

    Raises:
        ServiceError: nobody listens.
    """
    with listener("robot_learning_ask", namespace) as (node, listen):
        publisher = node.create_publisher(String, "task", latched())
        deadline = time.monotonic() + wait
        while not publisher.get_subscription_count():
            if time.monotonic() > deadline:
                topic = node.resolve_topic_name("task")
                raise ServiceError(f"nobody listens on {topic}; is a graph running? robot-learning up policy ...")
            listen(STEP)
        publisher.publish(String(data=instruction))
        listen(LINGER)
        return sorted({info.node_name for info in node.get_subscriptions_info_by_topic("task")})
