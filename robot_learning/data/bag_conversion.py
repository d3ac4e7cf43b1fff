"""Bags to datasets: the recorder's own bags become the very frames it wrote; other bags are sampled at the contract's rate."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from robot_learning.contract import STATE, Contract
from robot_learning.control.gripper import gripper_opening
from robot_learning.control.kinematics import Kinematics
from robot_learning.data.bag import Bag
from robot_learning.data.dataset import Dataset
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


class Origins:
    """Which bags the episodes of a dataset came from, so that none becomes an episode twice."""

    def __init__(self, dataset: Dataset) -> None:
        self.root = dataset.root
        self._infos: list[Mapping[str, Any]] = [
            dataset.episode_info(episode) for episode in range(dataset.num_episodes)
        ]

    def episode_of(self, bag: Bag) -> int | None:
        """The episode that was made of the bag, or recorded with it; None where there is none.

        Bags of several datasets share their names (`episode_000000`), so the time of the first message counts, too.
        """
        for episode, info in enumerate(self._infos):
            name = info.get("bag")
            if name is None:
                continue
            if info.get("source") != "bag":
                if (self.root / name).resolve() == bag.path.resolve():
                    return episode
            elif (name, info.get("bag_start", bag.start)) == (bag.path.name, bag.start):
                return episode
        return None

    def add(self, done: Conversion) -> None:
        """Take note of a further episode, which has just been committed."""
        self._infos.append(done.info)


def require_one_contract(bags: Sequence[Bag], name: str = "") -> Contract:
    """The contract of all bags: the one called `name` (or in that file), else the first that a bag has in it.

    Raises:
        BagError: there is none, or a bag was recorded under another one. ContractError: it cannot be read.
    """
    own = [(bag.path, found) for bag in bags if (found := bag_contract(bag)) is not None]
    if not name and not own:
        raise BagError(
            f"{bags[0].path}: expected a bag with a contract in it, found none; give --contract NAME or FILE"
        )
    where, contract = (f"--contract {name}", Contract.load(name)) if name else (str(own[0][0]), own[0][1])
    for path, found in own:
        if lines := contract.differences(found):
            listing = "\n  ".join(lines)
            raise BagError(
                f"{path}: expected the contract of {where}, found another one; here is {where}, there {path}:\n  {listing}\n"
                f"Convert bags of different contracts into different datasets, each bag under its own contract."
            )
    return contract


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
        BagError: topics or joints are missing, nobody says which task it shows, a message of the recorder is damaged, or not
            one frame could be made.
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
        info |= {"bag_start": bag.start, "actions": replay.actions}
        frames = writer.episode_length
        outcome = recording.success if success is None else success
        return Conversion(writer.save_episode(outcome, info), frames, replay.actions, replay.clipped, info)
    except (MessageFault, json.JSONDecodeError) as error:
        raise BagError(f"{bag.path}: expected whole messages, found one that is none: {error}; leave it out") from error
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
            gripping = topic == self.contract.gripper.topic
            names = [self.contract.gripper.joint] if gripping else list(self.contract.joints.names)
            values = self._positions(topic, decode(raw, kinds[topic]), names)
            if values is None:
                continue
            if gripping:
                gripper = values[0]
            else:
                joints = values
            if joints is not None:
                track.append((time, _tool(self.contract, kinematics, joints, gripper)))
        if not track:
            raise BagError(
                f"{self.bag.path}: expected commands on {self.contract.action.topic!r}, found none that moves a joint; "
                f"leave it out"
            )
        return track

    def _positions(self, topic: str, message: Any, names: list[str]) -> list[float] | None:
        """What a command wants of the joints `names`, in their order; None where it wants nothing."""
        if hasattr(message, "data"):
            return [float(value) for value in message.data]
        if not message.points:  # which stops a controller
            return None
        missing = [name for name in names if name not in message.joint_names]
        if missing:
            raise BagError(
                f"{self.bag.path}: {topic}: expected a trajectory of {names}, found {list(message.joint_names)}; "
                f"name the joints as the contract does, or leave the bag out"
            )
        wanted = message.points[-1].positions
        return [float(wanted[message.joint_names.index(name)]) for name in names]

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
