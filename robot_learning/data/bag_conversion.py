"""Bags to datasets: the recorder's own bags become the very frames it wrote; other bags are sampled at the contract's rate."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from robot_learning.contract import STATE, Contract
from robot_learning.control.gripper import gripper_opening
from robot_learning.control.kinematics import Kinematics
from robot_learning.data.bag import Bag
from robot_learning.data.episode_recorder import BAGS, add_frame
from robot_learning.data.mcap import BagError
from robot_learning.data.messages import SECOND, MessageFault, decode
from robot_learning.data.recording import (
    ACTION_SENT,
    ACTION_TOPICS,
    EVENT,
    LOCKSTEP,
    STRING,
    SUCCESS,
    TASK,
    TICK,
    TIME,
    NamedAction,
    RecordedFrame,
    Recording,
)
from robot_learning.data.writer import DatasetWriter

OWN, SENT, COMMANDS, MEASURED = "recorder", "actions", "commands", "joint states"
"""Where ticks and actions come from, best first."""


@dataclass(frozen=True)
class Conversion:
    """One bag as an episode: its index, frames, where the actions came from, the actions cut to [-1, 1], what went wrong."""

    episode: int
    frames: int
    actions: str
    clipped: int
    info: Mapping[str, Any]


def find_bags(source: Path) -> list[Path]:
    """The bags that `source` stands for: itself, or the committed episodes of a recorded dataset or of its `bags/`."""
    for folder in (source / BAGS, source):
        episodes = sorted(folder.glob("episode_*")) if folder.is_dir() else []
        if episodes:
            return episodes
    return [source]


def bag_contract(bag: Bag) -> Contract | None:
    """The contract that the recorder put into the bag, None in other bags."""
    text = bag.custom.get("contract")
    return Contract.from_dict(yaml.safe_load(text), where=f"{bag.path}: contract") if text else None


def _in_lockstep(bag: Bag) -> bool:
    """Whether the recorder took the bag from a simulation in lockstep."""
    return "contract" in bag.custom and bool(json.loads(bag.custom.get("config", "{}")).get(LOCKSTEP))


def convert_bag(
    bag: Bag,
    writer: DatasetWriter,
    contract: Contract,
    task: str = "",
    success: bool | None = None,
    namespace: str = "",
) -> Conversion:
    """Append the bag to a dataset of recordings (`open_recorded`) as one episode.

    Args:
        task: the instruction, for bags without a `task` topic; `success`: the outcome, instead of the `success` topic's.
        namespace: of the robot, in bags that hold several.

    Raises:
        BagError: topics are missing, nobody says which task it shows, or not one frame could be made.
        DatasetWriteError: the disk refused.
    """
    replay = Replay(bag, contract, task, namespace)
    recording = replay.recording
    try:
        for frame in replay.frames():
            if success is not None and frame.values["next.done"]:
                frame.values.update({"next.success": np.bool_(success), "next.reward": np.float32(success)})
            add_frame(writer, recording, frame)
        if not writer.episode_length:
            raise BagError(f"{bag.path}: not one frame could be made of it: {replay.explanation()}")
        info = recording.tally.info() | {"ended_by": replay.ended_by, "source": "bag", "bag": bag.path.name}
        info |= {"actions": replay.actions}
        frames = writer.episode_length
        outcome = recording.success if success is None else success
        return Conversion(writer.save_episode(outcome, info), frames, replay.actions, replay.clipped, info)
    finally:
        writer.discard_episode()


class Replay:
    """Plays a bag's messages to a `Recording`, with its own ticks where it has them.

    Raises:
        BagError: a stream of the contract is not in the bag, or in several namespaces; the message lists what is.
    """

    def __init__(self, bag: Bag, contract: Contract, task: str = "", namespace: str = "") -> None:
        self.bag, self.contract = bag, contract
        self.recording = Recording(contract, task, _in_lockstep(bag))
        self.clipped = 0
        self.ended_by = "end of bag"
        self._relative = self._topics(namespace)
        present = set(self._relative.values())
        if TICK in present:
            self.actions = OWN
        elif ACTION_SENT in present:
            self.actions = SENT
        else:
            self.actions = COMMANDS if {contract.action.topic, contract.gripper.topic} <= present else MEASURED
        if not task and TASK not in present:
            raise BagError(f'{bag.path}: expected a topic {TASK!r} with the instruction, found none; give --task "..."')

    def frames(self) -> Iterator[RecordedFrame]:
        """The episode's frames, in order."""
        self.recording.begin()
        steps = self._regular() if self.actions in (COMMANDS, MEASURED) else self._recorded()
        yield from (frame for frame in steps if frame is not None)
        last = self.recording.finish()
        if last is not None:
            yield last

    def explanation(self) -> str:
        """Why there may be no frame."""
        if self.recording.problems:
            return "; ".join(self.recording.problems)
        return "no instruction came" if not self.recording.task else f"no {ACTION_SENT} or too short for one tick"

    # ---- bags with ticks or actions in them

    def _recorded(self) -> Iterator[RecordedFrame | None]:
        for topic, time, raw in self._messages():
            if topic == TICK:
                stamp = decode(raw, TIME)
                yield self.recording.tick(int(stamp.sec) * SECOND + int(stamp.nanosec))
            elif topic == EVENT:
                yield self._event(json.loads(decode(raw, STRING).data))
            else:
                self.recording.message(topic, raw, time)
                if topic == ACTION_SENT and self.actions == SENT and self.recording.sent is not None:
                    yield self.recording.tick(self.recording.sent.stamp)

    def _event(self, event: Mapping[str, Any]) -> RecordedFrame | None:
        if event["event"] == "pause":
            return self.recording.pause()
        if event["event"] == "resume":
            self.recording.resume()
        elif event["event"] in ("save", "discard"):
            self.ended_by = str(event.get("ended_by", event.get("reason", "")))
        return None

    # ---- bags of others

    def _regular(self) -> Iterator[RecordedFrame | None]:
        ticks = self._ticks()
        actions = iter(self._actions(ticks))
        pending = iter(ticks[:-1])
        at = next(pending, None)
        for topic, time, raw in self._messages():
            while at is not None and at < time:
                yield self.recording.tick(at, next(actions))
                at = next(pending, None)
            self.recording.message(topic, raw, time)

    def _ticks(self) -> list[int]:
        """Times [ns] at the contract's rate, from when every stream has come once to the end."""
        first: dict[str, int] = {}
        last = 0
        streams = {stream.topic for stream in self.contract.observation.values()}
        for topic, time, _ in self._messages():
            if topic in streams:
                first.setdefault(topic, time)
            last = time
        silent = streams - first.keys()
        if silent:
            raise BagError(f"{self.bag.path}: expected messages on {sorted(streams)}, found none on {sorted(silent)}")
        return list(range(max(first.values()), last + 1, round(SECOND / self.contract.rate)))

    def _actions(self, ticks: list[int]) -> list[NamedAction]:
        """For each tick but the last, the motion until the next one, in shares of the contract's scale."""
        track = self._commanded() if self.actions == COMMANDS else self._measured()
        times = np.array([time for time, _ in track], np.int64)
        found = []
        rows = (
            [track[max(0, int(np.searchsorted(times, tick, side="right")) - 1)][1] for tick in ticks] if track else []
        )
        for tick, here, there in zip(ticks, rows, rows[1:], strict=False):
            step = there - here
            step[3] = (step[3] + np.pi) % (2 * np.pi) - np.pi
            action = step / np.array(self.contract.action.scale)
            self.clipped += bool(np.any(np.abs(action) > 1))
            found.append(NamedAction(tick, "bag", np.clip(action, -1, 1).astype(np.float32)))
        return found

    def _measured(self) -> list[tuple[int, np.ndarray]]:
        """(time, tool x y z yaw and gripper closing) of every joint_states message."""
        names, kinematics = [*self.contract.joints.names, self.contract.gripper.joint], Kinematics(self.contract)
        stream = self.contract.observation[STATE]
        track = []
        for _, time, raw in self._messages({stream.topic}):
            try:
                message = decode(raw, stream.type)
                positions = [float(message.position[list(message.name).index(name)]) for name in names]
            except (MessageFault, ValueError, IndexError):
                continue  # the frames of that moment say what is wrong with it
            track.append((time, _tool(self.contract, kinematics, positions[:-1], positions[-1])))
        return track

    def _commanded(self) -> list[tuple[int, np.ndarray]]:
        """(time, tool x y z yaw and gripper closing) of every command, once both controllers have had one."""
        kinematics, gripper = Kinematics(self.contract), self.contract.gripper.open
        joints: list[float] | None = None
        kinds = {
            self.contract.action.topic: self.contract.action.type,
            self.contract.gripper.topic: self.contract.gripper.type,
        }
        track = []
        for topic, time, raw in self._messages(set(kinds)):
            message = decode(raw, kinds[topic])
            values = message.data if hasattr(message, "data") else message.points[-1].positions
            if topic == self.contract.gripper.topic:
                gripper = float(values[0])
            else:
                joints = [float(value) for value in values]
            if joints is not None:
                track.append((time, _tool(self.contract, kinematics, joints, gripper)))
        return track

    # ---- topics

    def _messages(self, topics: set[str] | None = None) -> Iterator[tuple[str, int, bytes]]:
        """(relative topic, log time, bytes) of the topics that matter."""
        wanted = {full: relative for full, relative in self._relative.items() if topics is None or relative in topics}
        for message in self.bag.messages(wanted):
            yield wanted[message.topic], message.time, message.raw

    def _topics(self, namespace: str) -> dict[str, str]:
        """The bag's topics that matter, each with its relative name."""
        recorded = {full: relative for relative, full in json.loads(self.bag.custom.get("topics", "{}")).items()}
        if recorded:
            return {full: relative for full, relative in recorded.items() if full in self.bag.topics}
        streams = [stream.topic for stream in self.contract.observation.values()]
        others = [*ACTION_TOPICS, TASK, SUCCESS, self.contract.action.topic, self.contract.gripper.topic]
        found = {}
        for topic in streams + others:
            full = self._full_name(topic, namespace)
            if full:
                found[full] = topic
            elif topic in streams:
                raise BagError(
                    f"{self.bag.path}: expected the topic {topic!r} of contract {self.contract.name!r}, "
                    f"found {sorted(self.bag.topics)}"
                )
        return found

    def _full_name(self, topic: str, namespace: str) -> str:
        wanted = f"/{namespace.strip('/')}/{topic}" if namespace.strip("/") else f"/{topic}"
        if wanted in self.bag.topics or namespace:
            return wanted if wanted in self.bag.topics else ""
        ending = [full for full in self.bag.topics if full.endswith(f"/{topic}")]
        if len(ending) > 1:
            raise BagError(f"{self.bag.path}: expected one topic {topic!r}, found {ending}; choose with --namespace")
        return ending[0] if ending else ""


def _tool(contract: Contract, kinematics: Kinematics, joints: list[float], gripper: float) -> np.ndarray:
    pose = kinematics.forward(joints)
    return np.array([*pose.position, pose.yaw, gripper_opening(contract, gripper)])
