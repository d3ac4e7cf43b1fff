"""The e-stop as the safety gate hears it: messages, liveliness, and the presence of its publisher."""

from __future__ import annotations

import time
from typing import Any

from rclpy.duration import Duration
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import QoSProfile
from std_msgs.msg import Bool

from robot_learning.control.watchdogs import EmergencyStop
from robot_learning.nodes.base import reliable, sensor
from robot_learning.nodes.events import SubscriptionEventCallbacks

TOPIC = "estop"
ENDLESS = Duration(seconds=3600)  # no device renews its liveliness this rarely: it offers none


class EstopListener:
    """Feeds an `EmergencyStop` from the topic `estop` (std_msgs/Bool, true: pressed).

    A device that repeats its state is watched by its messages. One that offers liveliness (a finite lease) may speak only
    when its button moves: the middleware then says when it is gone. With a second device the gate holds.
    """

    def __init__(self, node: LifecycleNode, stop: EmergencyStop) -> None:
        self._node, self._stop = node, stop
        # a reliable subscription does not hear best-effort devices, a best-effort one may miss a message: hence both
        self._subscriptions = [
            node.create_subscription(Bool, TOPIC, self._hear, profile) for profile in (reliable(5), sensor(5))
        ]
        self._vouched: Any = None
        self._alive: int | None = None

    def poll(self) -> None:
        """Look at the graph: who is there, and who offers liveliness."""
        publishers = self._node.get_publishers_info_by_topic(TOPIC)
        self._stop.devices(len(publishers))
        if not publishers:
            self._stop.vouch(False)
            self._stop.lost()
            return
        leases = [p.qos_profile for p in publishers if p.qos_profile.liveliness_lease_duration < ENDLESS]
        if self._vouched is None and leases:
            self._listen_for_life(leases[0])
        all_offer = self._vouched is not None and len(leases) == len(publishers)
        self._stop.vouch(None if all_offer and self._alive is None else all_offer and self._alive == len(publishers))

    def destroy(self) -> None:
        """Take the subscriptions out of the graph."""
        for subscription in (*self._subscriptions, *filter(None, (self._vouched,))):
            self._node.destroy_subscription(subscription)

    def _hear(self, message: Bool) -> None:
        self._stop.message(bool(message.data), time.monotonic_ns())

    def _listen_for_life(self, offered: QoSProfile) -> None:
        profile = reliable(5)
        profile.reliability, profile.durability = offered.reliability, offered.durability
        profile.liveliness, profile.liveliness_lease_duration = offered.liveliness, offered.liveliness_lease_duration
        events = SubscriptionEventCallbacks(liveliness=self._life_changed)
        self._vouched = self._node.create_subscription(Bool, TOPIC, self._hear, profile, event_callbacks=events)

    def _life_changed(self, event: Any) -> None:
        if event.alive_count < (self._alive or 0):
            self._stop.lost()
        self._alive = event.alive_count
