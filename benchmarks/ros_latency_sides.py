"""The two sides of `ros_latency.py`: their processes, and a witness that sees stamps and commands but no pictures."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from ros_latency_parts import CAMERA_RATE, CAMERAS, HERE, TASK, Processes, Side, write_checkpoint, write_contract
from sensor_msgs.msg import CameraInfo, JointState
from std_msgs.msg import Float64MultiArray
from std_srvs.srv import Trigger

from robot_learning.contract import IMAGE_PREFIX, Contract
from robot_learning.nodes.base import stamp_to_ns

PLAIN = str(HERE / "plain_ros.py")
START_UP = 60.0  # longest wait for the graph to act [s]
SETTLE = 2.0  # after which the measurement begins [s]
EDGE = 0.5  # pictures so near to the start and end of a recording are not counted [s]


class Witness:
    """Subscribes to what is small: camera_info (one with each picture), actions, their inputs, and commands."""

    def __init__(self, command: str) -> None:
        self.context = rclpy.Context()
        self.context.init()
        self.node = Node("witness", context=self.context)
        self.published: dict[str, list[int]] = {camera: [] for camera in CAMERAS}
        self.oldest: dict[int, float] = {}  # by the time of the frame [ns]: age of its older picture [s]
        self.actions: list[int] = []
        self.commands: list[int] = []
        many = QoSProfile(depth=1000, reliability=ReliabilityPolicy.RELIABLE)
        for camera in CAMERAS:
            stamps = self.published[camera]
            self.node.create_subscription(
                CameraInfo, f"{camera}/camera_info", lambda m, s=stamps: s.append(stamp_to_ns(m.header.stamp)), many
            )
        self.node.create_subscription(JointState, "policy/inputs", self._on_inputs, many)
        self.node.create_subscription(JointState, "safety_gate/action_sent", self._on_sent, many)
        self.node.create_subscription(Float64MultiArray, command, self._on_command, many)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)
        self.thread = threading.Thread(target=self.executor.spin, daemon=True)
        self.thread.start()

    def _on_inputs(self, message: JointState) -> None:
        ages = dict(zip(message.name, message.position, strict=True))
        self.oldest[stamp_to_ns(message.header.stamp)] = max(ages[IMAGE_PREFIX + camera] for camera in CAMERAS)

    def _on_sent(self, message: JointState) -> None:
        if message.header.frame_id != "hold":
            self.actions.append(stamp_to_ns(message.header.stamp))

    def _on_command(self, _: Float64MultiArray, info: Any) -> None:
        self.commands.append(info["source_timestamp"])

    def await_commands(self, processes: Processes) -> None:
        deadline = time.monotonic() + START_UP
        while len(self.commands) < 10 or not all(self.published.values()):
            processes.check()
            if time.monotonic() > deadline:
                return  # the plain way may never act at all
            time.sleep(0.1)

    def latencies(self, start: int, end: int) -> np.ndarray:
        """From the older picture's stamp to the command's publication [ms], for commands between two times [ns]."""
        found = []
        for action in self.actions:
            later = [c for c in self.commands if c >= action]
            if action in self.oldest and later and start <= min(later) <= end:
                found.append((min(later) - action) / 1e6 + self.oldest[action] * 1e3)
        return np.array(found)

    def call(self, service: str) -> str:
        client = self.node.create_client(Trigger, service)
        if not client.wait_for_service(timeout_sec=START_UP):
            raise SystemExit(f"no service {service}")
        future = client.call_async(Trigger.Request())
        deadline = time.monotonic() + START_UP
        while not future.done():
            if time.monotonic() > deadline:
                raise SystemExit(f"{service} does not answer")
            time.sleep(0.02)
        if not future.result().success:
            raise SystemExit(f"{service}: {future.result().message}")
        return str(future.result().message)

    def close(self) -> None:
        self.executor.shutdown()
        self.node.destroy_node()
        self.context.try_shutdown()
        self.thread.join(5)


def measure(
    processes: Processes, witness: Witness, seconds: float, recorder: str
) -> tuple[np.ndarray, int, int, float]:
    """Latencies [ms], start and end [ns] and the recorder's CPU share, over so many seconds of the running graph."""
    time.sleep(SETTLE)
    start, cpu, before = time.time_ns(), processes.cpu(recorder), time.monotonic()
    time.sleep(seconds)
    end, used, after = time.time_ns(), processes.cpu(recorder), time.monotonic()
    processes.check()
    return witness.latencies(start, end), start, end, (used - cpu) / (after - before)


def count(witness: Witness, stored: dict[str, set[int]], start: int, end: int) -> tuple[int, int]:
    """Pictures published between two times, and how many of those were stored."""
    margin = int(EDGE * 1e9)
    published = [(c, s) for c in CAMERAS for s in witness.published[c] if start + margin < s < end - margin]
    return len(published), sum(stamp in stored[camera] for camera, stamp in published)


def stamps_in(bag: Path) -> dict[str, set[int]]:
    """The header stamps of the pictures in a bag, by camera."""
    from robot_learning.data.bag import Bag
    from robot_learning.data.messages import header_stamp

    found: dict[str, set[int]] = {camera: set() for camera in CAMERAS}
    for message in Bag(bag).messages():
        camera = message.topic.strip("/").split("/")[0]
        if camera in CAMERAS and message.topic.endswith("image_raw"):
            found[camera].add(header_stamp(message.raw))
    return found


def node(name: str, contract: Path, *parameters: str, remap: str = "") -> list[str]:
    """The command line of one of this package's nodes."""
    arguments = [f"contract:={contract}", *parameters]
    command = ["-m", f"robot_learning.nodes.{name}", "--ros-args"]
    command += ["-r", f"__node:={remap}"] if remap else []
    return [*command, *(part for argument in arguments for part in ("-p", argument))]


@contextmanager
def side(folder: Path, profile: bool) -> Iterator[tuple[Path, Path, Processes, Witness]]:
    """Contract, checkpoint, the processes of one side (its joint states run already) and a witness; all stopped in the end."""
    contract = write_contract(folder)
    checkpoint = write_checkpoint(folder, Contract.load(contract))
    processes, witness = Processes(folder, profile), Witness(Contract.load(contract).action.topic)
    try:
        processes.start("joints", [PLAIN, "joints"])
        yield contract, checkpoint, processes, witness
    finally:
        processes.stop()
        witness.close()


def phases(apart: float) -> dict[str, float]:
    """When in each period of the machine's clock a camera's pictures come [s], so many milliseconds apart."""
    return {camera: k * apart / 1e3 for k, camera in enumerate(CAMERAS)}


def measure_ours(folder: Path, seconds: float, apart: float) -> Side:
    """The package's nodes."""
    with side(folder, profile=True) as (contract, checkpoint, processes, witness):
        for camera, phase in phases(apart).items():
            parameters = [f"camera:={camera}", f"source:=test@{phase}", f"rate:={CAMERA_RATE}"]
            processes.start(camera, node("camera", contract, *parameters, remap=f"camera_{camera}"))
        processes.start("gate", node("safety_gate", contract))
        processes.start("recorder", node("recorder", contract, f"dataset:={folder / 'dataset'}", f"task:={TASK}"))
        processes.start("policy", node("policy", contract, f"checkpoint:={checkpoint}", f"task:={TASK}"))
        witness.await_commands(processes)
        witness.call("recorder/start")
        latencies, start, end, cpu = measure(processes, witness, seconds, "recorder")
        witness.call("recorder/stop")
    bag = next((folder / "dataset" / "bags").glob("episode_*"))
    return Side(latencies, *count(witness, stamps_in(bag), start, end), cpu, len(latencies))


def measure_plain(folder: Path, seconds: float, apart: float) -> Side:
    """The plain nodes."""
    with side(folder, profile=False) as (contract, checkpoint, processes, witness):
        for camera, phase in phases(apart).items():
            processes.start(camera, [PLAIN, "camera", camera, str(phase)])
        processes.start("gate", [PLAIN, "gate", str(contract)])
        processes.start("recorder", [PLAIN, "recorder", str(folder / "bag")])
        processes.start("policy", [PLAIN, "policy", str(checkpoint)])
        witness.await_commands(processes)
        latencies, start, end, cpu = measure(processes, witness, seconds, "recorder")
    return Side(latencies, *count(witness, stamps_in(folder / "bag"), start, end), cpu, len(latencies))
