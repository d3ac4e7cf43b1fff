"""Speaking to a running graph from a command: services and instructions."""

from __future__ import annotations

import time
from typing import Any

from rclpy.duration import Duration
from std_msgs.msg import String
from std_srvs.srv import Trigger

from robot_learning.nodes.base import latched
from robot_learning.nodes.listening import listener
from robot_learning.nodes.service_calls import ServiceError

STEP = 0.05  # [s]
SETTLED = 2.5  # nobody further was found for so long: there is nobody (with our profile each tells of itself once a second) [s]


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
    """Publish an instruction on `task`; returns the names of the nodes that have it.

    Nodes are found one after the other, and nobody says who is still to come. So it is waited until no further one has been
    found for `SETTLED`, and then for the confirmation of all.

    Raises:
        ServiceError: nobody listens, or not all who do have confirmed it.
    """
    with listener("robot_learning_ask", namespace) as (node, listen):
        publisher = node.create_publisher(String, "task", latched())
        publisher.publish(String(data=instruction))  # latched: who is found later gets it, too
        topic = node.resolve_topic_name("task")
        known: tuple[object, ...] = ()
        since = began = time.monotonic()
        while True:
            listen(STEP)
            now = time.monotonic()
            hearers = sorted(info.node_name for info in node.get_subscriptions_info_by_topic("task"))
            reached = publisher.get_subscription_count()
            found = (reached, *hearers, *sorted(node.get_node_names()))
            if found != known:
                known, since = found, now
            if not reached and now > began + wait:
                raise ServiceError(f"nobody listens on {topic}; is a graph running? robot-learning up policy ...")
            if reached and now > since + SETTLED:
                break
        names = sorted(set(hearers))
        everybody = reached == len(hearers) and publisher.wait_for_all_acked(Duration(seconds=wait))
        if not everybody:
            raise ServiceError(
                f"not all who listen on {topic} have confirmed it within {wait:g} s: {', '.join(names)}; look at what they do "
                "with robot-learning status, and ask again (a node that was killed is among them for 20 s)"
            )
        return names
