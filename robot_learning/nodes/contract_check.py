"""Comparing a contract with the running graph: topics, types, sizes, names, rates, ages, and who listens and writes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from rclpy.node import Node

from robot_learning.contract import Contract, Stream
from robot_learning.data.frames import Frame, FrameAssembler
from robot_learning.nodes.base import sensor
from robot_learning.nodes.message_types import message_type
from robot_learning.nodes.writers_of import full_name

SLOW = 0.8  # a stream below this share of its rate is too slow
SETTLE = 2.0  # discovery [s]
ANOTHER_CLOCK = (
    1e8  # no message is three years old: the system's clock counts from 1970, a simulation's from its start [s]
)


@dataclass(frozen=True)
class Finding:
    """One thing compared: `ok`, what the contract `expected` and what was `found`."""

    subject: str
    ok: bool
    expected: str
    found: str


def check(contract: Contract, node: Node, listen: Callable[[float], None], seconds: float) -> list[Finding]:
    """Listen to the graph for so long and compare. Streams that only a simulation has are left out."""
    real = contract.select([key for key, stream in contract.observation.items() if not stream.simulation_only])
    assembler, counts = FrameAssembler(real), Counter[str]()

    def take(topic: str, raw: bytes) -> None:
        counts[topic] += 1
        assembler.add(topic, raw, node.get_clock().now().nanoseconds)

    for topic, (_, kind) in assembler.topics().items():
        node.create_subscription(message_type(kind), topic, partial(take, topic), sensor(10), raw=True)
    listen(SETTLE)
    counts.clear()
    listen(seconds)
    frame = assembler.frame(node.get_clock().now().nanoseconds)
    findings = []
    for key, stream in real.observation.items():
        findings += _stream(node, stream, counts[stream.topic] / seconds, _problem(frame, key, stream.topic))
    for topic, kind in ((contract.action.topic, contract.action.type), (contract.gripper.topic, contract.gripper.type)):
        findings += _command(node, topic, kind)
    return findings


def _problem(frame: Frame, key: str, topic: str) -> str:
    """What the frame says is wrong with a stream, empty when nothing is; an age of the order of the epoch is explained."""
    problem = next((p.removeprefix(f"{topic}: ") for p in frame.problems if p.startswith(f"{topic}:")), "")
    age = frame.ages.get(key, 0.0)
    if problem.startswith("stale") and age > ANOTHER_CLOCK:
        return "stamped by another clock than the system's; if the robot is simulated, give --use-sim-time"
    if problem.startswith("stamped in the future") and age < -ANOTHER_CLOCK:
        return "stamped by another clock than /clock; leave out --use-sim-time, or let the simulation publish /clock"
    return problem


def _stream(node: Node, stream: Stream, rate: float, problem: str) -> list[Finding]:
    publishers = node.get_publishers_info_by_topic(stream.topic)
    types = sorted({info.topic_type for info in publishers})
    if not publishers:
        return [Finding(stream.topic, False, f"a publisher of {stream.type}", "none")]
    found = [Finding(f"{stream.topic} type", types == [stream.type], stream.type, ", ".join(types))]
    found.append(Finding(f"{stream.topic} publishers", len(publishers) == 1, "1", str(len(publishers))))
    found.append(Finding(f"{stream.topic} rate", rate >= SLOW * stream.rate, f"{stream.rate:g} Hz", f"{rate:.1f} Hz"))
    found.append(
        Finding(f"{stream.topic} messages", not problem, "as the contract says, and fresh", problem or "they are")
    )
    return found


def _command(node: Node, topic: str, kind: str) -> list[Finding]:
    writers = [full_name(info) for info in node.get_publishers_info_by_topic(topic)]
    listeners = node.get_subscriptions_info_by_topic(topic)
    controllers = [info for info in listeners if full_name(info) not in writers]  # the gate hears what it sends itself
    types = ", ".join(sorted({info.topic_type for info in controllers})) or "none"
    return [
        Finding(f"{topic} controller", types == kind, f"a subscriber of {kind}", types),
        Finding(f"{topic} writers", len(writers) <= 1, "the safety gate alone", ", ".join(writers) or "none yet"),
    ]
