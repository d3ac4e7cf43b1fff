"""Bags as rosbag2 keeps them: a folder with `metadata.yaml` and an MCAP file, holding raw messages as they came off the wire."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from robot_learning.data import mcap
from robot_learning.data.files import write_atomic
from robot_learning.data.mcap import BagError, McapWriter
from robot_learning.data.messages import typestore

METADATA = "metadata.yaml"
FILE = "recording_0.mcap"
CUSTOM = "robot_learning"
"""Name under which our texts (contract, configuration) are kept in the file."""
VERSION = 8  # of metadata.yaml: the newest whose quality-of-service text Humble, Jazzy and Kilted all read


class Message(NamedTuple):
    """One message of a bag: fully qualified topic, log time [ns], CDR bytes."""

    topic: str
    time: int
    raw: bytes


class BagWriter:
    """Records raw messages into a new bag at `folder`.

    `custom` are texts kept in the bag from the first moment (the contract, the configuration). What was flushed survives
    the death of the process; `Bag` reads such a bag too.

    Raises:
        FileExistsError: there is a bag already. OSError: the disk refused; the bag keeps what was flushed before.
    """

    def __init__(self, folder: Path, topics: Mapping[str, str], custom: Mapping[str, str]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._file = McapWriter(folder / FILE, {CUSTOM: dict(custom)})
        try:
            self._channels = {topic: self._add_channel(topic, kind) for topic, kind in topics.items()}
        except BaseException:
            self._file.abandon()
            raise

    def write(self, topic: str, time: int, raw: bytes) -> None:
        """Append a message that came at `time` [ns]."""
        self._file.write(self._channels[topic], time, raw)

    def flush(self) -> None:
        """From here on, what was written survives the death of this process."""
        self._file.flush()

    @property
    def size(self) -> int:
        """Bytes on the disk."""
        return self._file.size

    def close(self) -> None:
        """Finish the bag; when this returns, no crash can lose it."""
        self._file.close()
        _write_metadata(self.folder, self._file)

    def _add_channel(self, topic: str, kind: str) -> int:
        store = typestore()
        definition, _ = store.generate_msgdef(kind, ros_version=2)
        metadata = {"offered_qos_profiles": "", "topic_type_hash": store.hash_rihs01(kind)}
        return self._file.add_channel(topic, kind, definition, metadata)


def finish_bag(folder: Path) -> None:
    """Finish the bag of a killed recorder: its index and `metadata.yaml` are made from what is on the disk.

    Raises:
        BagError: its recorder is alive, or another tool recorded it.
    """
    path = folder / FILE
    if not path.is_file():
        raise BagError(
            f"{folder}: expected a bag, found no {METADATA} and no {FILE}. Another recorder's unfinished bag is mended "
            f"with: ros2 bag reindex {folder}"
        )
    file = McapWriter.reopen(path)
    file.close()
    _write_metadata(folder, file)


class Bag:
    """A bag to read: a rosbag2 folder, or a single `.mcap` or `.db3` file. A killed recorder's bag is finished first.

    Attributes:
        topics: the ROS type of each topic.
        custom: the texts kept in it, such as `contract`.

    Raises:
        BagError: it is no bag, it is damaged, or its recorder is still writing it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.exists():
            raise BagError(f"{path}: expected a bag (a folder with {METADATA}, an .mcap or a .db3 file), found nothing")
        if path.is_dir() and not (path / METADATA).is_file():
            finish_bag(path)
        with self._reader() as reader:
            self.topics: dict[str, str] = {c.topic: c.msgtype for c in reader.connections}
            self.start: int = reader.start_time
            self.end: int = reader.end_time
        ours = path / FILE if path.is_dir() else path
        self.custom = mcap.read_metadata(ours).get(CUSTOM, {}) if ours.suffix == ".mcap" and ours.is_file() else {}

    def messages(self, topics: Collection[str] | None = None) -> Iterator[Message]:
        """The messages by log time, those of one time in the order they were written; of `topics` only, when given.

        Raises:
            BagError: the bag is damaged.
        """
        with self._reader() as reader:
            wanted = [c for c in reader.connections if topics is None or c.topic in topics]
            if wanted:
                for connection, time, raw in reader.messages(wanted):
                    yield Message(connection.topic, time, bytes(raw))

    @contextmanager
    def _reader(self) -> Iterator[Any]:
        from rosbags.rosbag2 import Reader

        try:
            with Reader(self.path) as reader:
                yield reader
        except Exception as error:  # the reader trusts its input: torn bags raise whatever it meets first
            found = f"{type(error).__name__}: {error}"
            raise BagError(f"{self.path}: expected a readable bag, found: {found}; mend it or leave it out") from error


def _write_metadata(folder: Path, file: McapWriter) -> None:
    """`metadata.yaml`, which makes the folder a bag for `ros2 bag`."""
    start, end = file.time_range
    counts = file.message_counts
    span = {"starting_time": {"nanoseconds_since_epoch": start}, "duration": {"nanoseconds": end - start}}
    total = {"message_count": sum(counts.values())}
    information = {
        "version": VERSION,
        "storage_identifier": "mcap",
        **span,
        **total,
        "topics_with_message_count": [
            {
                "topic_metadata": {
                    "name": channel.topic,
                    "type": channel.type,
                    "serialization_format": "cdr",
                    "offered_qos_profiles": "",
                    "type_description_hash": channel.metadata.get("topic_type_hash", ""),
                },
                "message_count": counts[channel.id],
            }
            for channel in file.channels.values()
        ],
        "compression_format": "",
        "compression_mode": "",
        "relative_file_paths": [FILE],
        "files": [{"path": FILE, **span, **total}],
        "custom_data": mcap.read_metadata(file.path).get(CUSTOM, {}),
        "ros_distro": "",
    }
    plain = json.loads(json.dumps(information))  # without shared parts, which YAML would write as anchors
    text = yaml.safe_dump({"rosbag2_bagfile_information": plain}, sort_keys=False)
    write_atomic(folder / METADATA, lambda temporary: _write(temporary, text))


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
