"""Events of the middleware, as far as the ROS distribution and the middleware have them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from rclpy.node import Node
from rclpy.qos import QoSProfile

try:
    from rclpy.event_handler import SubscriptionEventCallbacks, UnsupportedEventTypeError
except ImportError:  # Humble
    from rclpy.qos_event import SubscriptionEventCallbacks, UnsupportedEventTypeError


def subscribe_with_match(
    node: Node, kind: Any, topic: str, callback: Callable[[Any], None], profile: QoSProfile, matched: Callable[[], None]
) -> Any:
    """A subscription that also calls `matched` whenever a publisher comes or goes, where that can be had (not in Humble)."""
    if "matched" in inspect.signature(SubscriptionEventCallbacks).parameters:
        events = SubscriptionEventCallbacks(matched=lambda _: matched())
        try:
            return node.create_subscription(kind, topic, callback, profile, event_callbacks=events)
        except UnsupportedEventTypeError:
            pass
    return node.create_subscription(kind, topic, callback, profile)
