"""What a recorder hears from a robot, its cameras and its safety gate, published by a node of the test."""

from __future__ import annotations

import array
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.duration import Duration
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import Bool, Header, String
from std_srvs.srv import Trigger

from robot_learning.contract import Contract

SIZE = 32


def small_contract(folder: Path) -> tuple[Contract, str]:
    """The shipped contract with small cameras, and the file it is in."""
    contract = Contract.load("ur5e_2f85").with_image_size(SIZE, SIZE)
    path = folder / "small.yaml"
    path.write_text(yaml.safe_dump(contract.to_dict()))
    return contract, str(path)


class Robot:
    """Publishes a tick's worth of messages when told; `sent` are the actions so far."""

    def __init__(self, graph: Any, contract: Contract) -> None:
        self.graph, self.contract = graph, contract
        self.node = graph.node("robot")
        self.sent: list[np.ndarray] = []
        self.status: list[DiagnosticStatus] = []
        make = self.node.create_publisher
        self.joints = make(JointState, "joint_states", 50)
        self.cameras = [make(Image, f"{name}/image_raw", 5) for name in ("front", "wrist")]
        self.requested = make(JointState, "safety_gate/action_requested", 5)
        self.action = make(JointState, "safety_gate/action_sent", 5)
        self.success = make(Bool, "success", 5)
        self.task = make(String, "task", QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL))
        self.node.create_subscription(DiagnosticStatus, "recorder/status", self.status.append, 10)

    def connect(self) -> None:
        """Wait until the recorder is there and hears everything."""
        for publisher in (self.joints, *self.cameras, self.requested, self.action, self.success, self.task):
            self.graph.until(lambda p=publisher: p.get_subscription_count(), f"the recorder on {publisher.topic_name}")
        self.graph.until(lambda: self.state() == "idle", "an idle recorder")
        self.graph.until(self._is_heard, "a recorder that hears the sensors")

    def _is_heard(self) -> bool:
        self.sensors()
        self.spin()
        return self.state("never heard") == ""

    def state(self, key: str = "state") -> str:
        """A value of the recorder's newest status."""
        return next((v.value for v in self.status[-1].values if v.key == key), "") if self.status else ""

    def level(self) -> bytes:
        return bytes(self.status[-1].level) if self.status else DiagnosticStatus.STALE

    def message(self) -> str:
        return str(self.status[-1].message) if self.status else ""

    def call(self, service: str) -> Trigger.Response:
        """Call a service of the recorder; it must have heard what was published before."""
        return self.graph.call(Trigger, f"recorder/{service}")

    def now(self) -> int:
        return int(self.node.get_clock().now().nanoseconds)

    def sensors(self, stamp: int | None = None) -> None:
        """One message of each sensor."""
        header = Header(stamp=_time(self.now() if stamp is None else stamp))
        number = len(self.sent)
        names = [*self.contract.joints.names, self.contract.gripper.joint]
        positions = [*(np.array(self.contract.joints.home) + 0.01 * number), 0.4]
        self.joints.publish(JointState(header=header, name=names, position=positions, velocity=[0.1] * len(names)))
        for index, camera in enumerate(self.cameras):
            pixels = np.random.default_rng(number + 1000 * index).integers(0, 255, (SIZE, SIZE, 3), np.uint8)
            data = array.array("B", pixels.tobytes())
            image = Image(header=header, height=SIZE, width=SIZE, encoding="rgb8", step=3 * SIZE, data=data)
            camera.publish(image)

    def act(self, source: str = "policy", stamp: int | None = None) -> None:
        """The gate's account of an action that answers what came up to now."""
        number = len(self.sent)
        values = np.zeros(5) if source == "hold" else np.random.default_rng(number).uniform(-1, 1, 5)
        header = Header(stamp=_time(self.now() if stamp is None else stamp), frame_id=source)
        message = JointState(header=header, name=list(self.contract.action.names), position=values.tolist())
        self.requested.publish(message)
        self.action.publish(message)
        self.sent.append(values.astype(np.float32))

    def say(self, success: bool) -> None:
        """The task is done, or not; returns when the recorder has the message."""
        self.success.publish(Bool(data=success))
        assert self.success.wait_for_all_acked(Duration(seconds=30.0))
        self.spin()

    def ticks(self, count: int, source: str = "policy") -> None:
        """So many ticks of sensors and actions, each once the recorder has counted the one before."""
        for _ in range(count):
            frames = self.seen()
            self.sensors()
            self.spin()
            self.act(source)
            self.graph.until(lambda n=frames: self.seen() > n, f"tick {len(self.sent)}: {self.message()}")

    def seen(self) -> int:
        """Ticks that the recorder has counted in this episode."""
        return int(self.state("ticks") or 0)

    def spin(self) -> None:
        """Let messages of other topics arrive before the action that answers them."""
        heard = len(self.status)
        self.graph.until(lambda: len(self.status) > heard + 1, "the recorder's heartbeat")


def _time(ns: int) -> Time:
    return Time(sec=ns // 10**9, nanosec=ns % 10**9)
