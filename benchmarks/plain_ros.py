"""The plain way, as tutorials show it: rclpy's defaults throughout. Peer of `benchmarks/ros_latency.py`, not part of the package.

python benchmarks/plain_ros.py camera front PHASE | joints | policy CHECKPOINT | gate CONTRACT | recorder FOLDER
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from rclpy.node import Node
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CameraInfo, Image, JointState
from std_msgs.msg import Float64MultiArray

from robot_learning.contract import IMAGE_PREFIX, STATE, Contract

CAMERAS = ("front", "wrist")
HEIGHT, WIDTH = 480, 640
CAMERA_RATE, JOINT_RATE, POLICY_RATE = 29.97, 125.0, 10.0
TASK = "open the drawer"


class Camera(Node):
    """A moving picture from a timer."""

    def __init__(self, name: str, phase: str) -> None:
        super().__init__(f"plain_camera_{name}")
        self.image = self.create_publisher(Image, f"{name}/image_raw", 10)
        self.info = self.create_publisher(CameraInfo, f"{name}/camera_info", 10)
        gradient = np.linspace(0, 255, WIDTH, dtype=np.uint8)
        self.picture = np.repeat(np.tile(gradient, (HEIGHT, 1))[..., None], 3, axis=2)
        time.sleep((float(phase) - time.monotonic()) % (1.0 / CAMERA_RATE))  # a timer keeps the phase it begins with
        self.create_timer(1.0 / CAMERA_RATE, self.tick)

    def tick(self) -> None:
        message = Image(height=HEIGHT, width=WIDTH, encoding="rgb8", step=WIDTH * 3)
        message.header.stamp = self.get_clock().now().to_msg()
        self.picture = np.roll(self.picture, 4, axis=1)
        message.data = self.picture.tobytes()
        self.image.publish(message)
        self.info.publish(CameraInfo(header=message.header, height=HEIGHT, width=WIDTH))


class Joints(Node):
    """A robot at rest in its home position; both sides use it."""

    def __init__(self) -> None:
        super().__init__("plain_joints")
        contract = Contract.load("ur5e_2f85")
        self.names = [*contract.joints.names, contract.gripper.joint]
        self.positions = [*contract.joints.home, contract.gripper.open]
        self.publisher = self.create_publisher(JointState, "joint_states", 10)
        self.create_timer(1.0 / JOINT_RATE, self.tick)

    def tick(self) -> None:
        message = JointState(name=self.names, position=self.positions, velocity=[0.0] * len(self.names))
        message.header.stamp = self.get_clock().now().to_msg()
        self.publisher.publish(message)


class Policy(Node):
    """Takes the last message of each topic on a timer, runs the network in the callback."""

    def __init__(self, checkpoint: str) -> None:
        super().__init__("plain_policy")
        import cv2
        import torch

        from robot_learning.control.proprioception import Proprioception
        from robot_learning.policies import load_policy

        torch.set_num_threads(1)
        self.cv2 = cv2
        self.policy = load_policy(checkpoint)
        self.proprioception = Proprioception(self.policy.contract)
        self.last: dict[str, Any] = {}
        for camera in CAMERAS:
            self.create_subscription(Image, f"{camera}/image_raw", lambda m, c=camera: self.last.update({c: m}), 10)
        self.create_subscription(JointState, "joint_states", lambda m: self.last.update(joints=m), 10)
        self.action = self.create_publisher(JointState, "policy/action", 10)
        self.inputs = self.create_publisher(JointState, "policy/inputs", 10)
        self.create_timer(1.0 / POLICY_RATE, self.tick)

    def tick(self) -> None:
        if len(self.last) < 3:
            return
        now = self.get_clock().now()
        joints = self.last["joints"]
        observation = {STATE: self.proprioception(joints.name, joints.position, joints.velocity)}
        ages = []
        for camera in CAMERAS:
            message = self.last[camera]
            stamp = message.header.stamp
            ages.append((now.nanoseconds - stamp.sec * 10**9 - stamp.nanosec) / 1e9)
            picture = np.frombuffer(message.data, np.uint8).reshape(HEIGHT, WIDTH, 3)
            shape = self.policy.contract.observation[IMAGE_PREFIX + camera].shape
            resized = self.cv2.resize(picture, (shape[1], shape[0]), interpolation=self.cv2.INTER_AREA)
            observation[IMAGE_PREFIX + camera] = resized
        action = self.policy.predict(observation, TASK)
        message = JointState(name=list(self.policy.contract.action.names), position=[float(a) for a in action])
        message.header.stamp = now.to_msg()
        self.inputs.publish(JointState(header=message.header, name=[IMAGE_PREFIX + c for c in CAMERAS], position=ages))
        self.action.publish(message)


class Gate(Node):
    """Inverse kinematics on every action, without any check."""

    def __init__(self, contract: str) -> None:
        super().__init__("plain_gate")
        from robot_learning.control.cartesian import CartesianController

        self.contract = Contract.load(contract)
        self.controller = CartesianController(self.contract)
        self.home = np.array(self.contract.joints.home)
        self.controller.reset(self.home, 0.0)
        self.command = self.create_publisher(Float64MultiArray, self.contract.action.topic, 10)
        self.sent = self.create_publisher(JointState, "safety_gate/action_sent", 10)
        self.create_subscription(JointState, "policy/action", self.on_action, 10)

    def on_action(self, message: JointState) -> None:
        command = self.controller.step(np.array(message.position), self.home, 0.0)
        self.command.publish(Float64MultiArray(data=[float(j) for j in command.joints]))
        self.sent.publish(message)


class Recorder(Node):
    """Writes every message to a bag as it comes."""

    def __init__(self, folder: str) -> None:
        super().__init__("plain_recorder")
        from rosbags.rosbag2 import StoragePlugin, Writer
        from rosbags.typesys import Stores, get_typestore

        self.writer = Writer(Path(folder), version=9, storage_plugin=StoragePlugin.MCAP)
        self.writer.open()
        store = get_typestore(Stores.ROS2_KILTED)
        topics = {f"{camera}/image_raw": Image for camera in CAMERAS}
        topics |= {"joint_states": JointState, "safety_gate/action_sent": JointState}
        for topic, kind in topics.items():
            name = f"sensor_msgs/msg/{kind.__name__}"
            connection = self.writer.add_connection(f"/{topic}", name, typestore=store)
            self.create_subscription(kind, topic, lambda m, c=connection: self.write(c, m), 10)

    def write(self, connection: Any, message: Any) -> None:
        self.writer.write(connection, self.get_clock().now().nanoseconds, serialize_message(message))


ROLES = {"camera": Camera, "joints": Joints, "policy": Policy, "gate": Gate, "recorder": Recorder}


def main() -> None:
    role, *arguments = sys.argv[1:]
    rclpy.init()
    node = ROLES[role](*arguments)
    try:
        rclpy.spin(node)
    except (KeyboardInterrupt, rclpy.executors.ExternalShutdownException):
        pass
    finally:
        if role == "recorder":
            node.writer.close()


if __name__ == "__main__":
    main()
