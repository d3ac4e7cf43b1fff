"""Whole runs of messages for the recorder: what a robot, its cameras and its safety gate send in an episode."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import numpy as np

from robot_learning.contract import Contract
from robot_learning.data.episode_recorder import EpisodeRecorder
from robot_learning.data.messages import encode
from robot_learning.data.recording import ACTION_REQUESTED, ACTION_SENT, SUCCESS, TASK

from . import ros_messages
from .ros_messages import MILLISECOND, SECOND

T0 = 1_700_000_000 * SECOND
PERIOD = SECOND // 10


def action(contract: Contract, stamp: int, values: np.ndarray, source: str = "policy") -> bytes:
    """A named action, its elements in another order than the contract's."""
    names = list(contract.action.names)[::-1]
    return encode(
        "sensor_msgs/msg/JointState",
        header=ros_messages.header(stamp, source), name=names, position=np.array(values[::-1], np.float64),
        velocity=np.zeros(0), effort=np.zeros(0),
    )  # fmt: skip


def text(value: str) -> bytes:
    return encode("std_msgs/msg/String", data=value)


def flag(value: bool) -> bytes:
    return encode("std_msgs/msg/Bool", data=value)


@dataclass
class Run:
    """A run of the graph that a recorder listens to; `time` [ns] goes on with every tick."""

    contract: Contract
    recorder: EpisodeRecorder
    time: int = T0
    tick_number: int = 0
    small: dict[str, bytes] = field(default_factory=lambda: {TASK: text("open the drawer")})

    def start(self) -> None:
        self.recorder.start(self.time, self.small)

    def tick(
        self, source: str = "policy", silent: tuple[str, ...] = (), requested: np.ndarray | None = None
    ) -> np.ndarray:
        """Sensors, and 20 ms later the action sent for them; returns it. Messages of the `silent` topics stay away."""
        stamp, rng = self.time, np.random.default_rng(self.tick_number)
        for topic, raw in ros_messages.messages_at(self.contract, stamp, self.tick_number).items():
            if topic not in silent:
                self.recorder.message(topic, raw, stamp + 3 * MILLISECOND)
        at = stamp + 10 * MILLISECOND
        sent = np.zeros(5) if source == "hold" else rng.uniform(-1, 1, 5).round(3)
        asked = sent if requested is None else requested
        self.recorder.message(ACTION_REQUESTED, action(self.contract, at, asked, source), at + 10 * MILLISECOND)
        self.recorder.message(ACTION_SENT, action(self.contract, at, sent, source), at + 10 * MILLISECOND)
        self.time += PERIOD
        self.tick_number += 1
        return sent.astype(np.float32)

    def success(self, value: bool) -> None:
        self.recorder.message(SUCCESS, flag(value), self.time)

    def task(self, value: str) -> None:
        self.recorder.message(TASK, text(value), self.time)


def events(bag: object) -> list[dict[str, object]]:
    """The recorder's events in a bag."""
    from robot_learning.data.messages import decode

    return [
        json.loads(decode(message.raw, "std_msgs/msg/String").data)
        for message in bag.messages({"/recorder/event"})  # type: ignore[attr-defined]
    ]
