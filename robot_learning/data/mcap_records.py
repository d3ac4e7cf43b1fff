"""The records of MCAP files (https://mcap.dev/spec): as this package writes them, and how they are read back."""

from __future__ import annotations

import os
import struct
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import BinaryIO

from robot_learning.data.files import DatasetError

MAGIC = b"\x89MCAP0\r\n"
HEADER, FOOTER, SCHEMA, CHANNEL, MESSAGE, CHUNK, MESSAGE_INDEX, CHUNK_INDEX = range(0x01, 0x09)
STATISTICS, METADATA, METADATA_INDEX, SUMMARY_OFFSET, DATA_END = 0x0B, 0x0C, 0x0D, 0x0E, 0x0F
RECORD_HEAD = struct.Struct("<BQ")  # opcode, length
MESSAGE_HEAD = struct.Struct("<BQHIQQ")  # opcode, length, channel, sequence, log time, publish time
CHUNK_HEAD = struct.Struct("<QQQI")  # start, end, size, crc (0: none)


class BagError(DatasetError):
    """A bag cannot be read or written as asked; the message names the file, what was expected and what was found."""


class TornError(ValueError):
    """A record that cannot be: a power cut kept a part of it from the disk."""


@dataclass(frozen=True)
class Channel:
    """One topic of the file. `schema` is the definition of `type` in ros2msg text, `metadata` what rosbag2 keeps with it."""

    id: int
    topic: str
    type: str
    schema: str
    metadata: Mapping[str, str]

    def schema_record(self) -> bytes:
        """Its schema, which has the channel's own number."""
        return to_record(
            SCHEMA, struct.pack("<H", self.id) + to_text(self.type) + to_text("ros2msg") + to_text(self.schema)
        )

    def channel_record(self) -> bytes:
        """Its channel."""
        head = struct.pack("<HH", self.id, self.id) + to_text(self.topic) + to_text("cdr")
        return to_record(CHANNEL, head + to_mapping(self.metadata))


@dataclass
class ChunkInfo:
    """Where a written chunk is and what is in it: `index` has the (time, offset) pairs of each channel's messages."""

    offset: int
    size: int
    start: int
    end: int
    index: dict[int, list[tuple[int, int]]]
    index_offsets: dict[int, int] = field(default_factory=dict)
    index_size: int = 0

    @property
    def length(self) -> int:
        """Bytes of the whole chunk record."""
        return RECORD_HEAD.size + CHUNK_HEAD.size + 4 + 8 + self.size

    def head(self) -> bytes:
        """The chunk record up to its messages."""
        head = RECORD_HEAD.pack(CHUNK, self.length - RECORD_HEAD.size)
        return head + CHUNK_HEAD.pack(self.start, self.end, self.size, 0) + to_text("") + struct.pack("<Q", self.size)


def records(file: BinaryIO) -> Iterator[tuple[int, int, int]]:
    """(opcode, offset, length) of each whole record from here on, the file placed at its content.

    Raises:
        TornError: there are zeros where a record should begin.
    """
    size = os.fstat(file.fileno()).st_size
    offset = file.tell()
    while offset + RECORD_HEAD.size <= size:
        file.seek(offset)
        opcode, length = RECORD_HEAD.unpack(file.read(RECORD_HEAD.size))
        if not opcode:
            raise TornError(f"{file.name}: expected a record at byte {offset}, found zeros")
        if offset + RECORD_HEAD.size + length > size:
            return
        yield opcode, offset, length
        offset += RECORD_HEAD.size + length


def to_record(opcode: int, content: bytes) -> bytes:
    """A record with its head."""
    return RECORD_HEAD.pack(opcode, len(content)) + content


def to_text(text: str) -> bytes:
    """A text as records have it: its length, then its bytes."""
    data = text.encode()
    return struct.pack("<I", len(data)) + data


def to_mapping(values: Mapping[str, str]) -> bytes:
    """Texts by name, as records have them."""
    content = b"".join(to_text(key) + to_text(value) for key, value in values.items())
    return struct.pack("<I", len(content)) + content


def index_records(chunk: ChunkInfo) -> bytes:
    """The message indexes that follow a chunk; notes in it where they are."""
    start = chunk.offset + chunk.length
    records = b""
    for channel, entries in chunk.index.items():
        chunk.index_offsets[channel] = start + len(records)
        pairs = b"".join(struct.pack("<QQ", *entry) for entry in entries)
        records += to_record(MESSAGE_INDEX, struct.pack("<HI", channel, len(pairs)) + pairs)
    chunk.index_size = len(records)
    return records


def summary_records(
    start: int,
    channels: Mapping[int, Channel],
    chunks: list[ChunkInfo],
    metadata: list[tuple[str, int, int]],
    counts: Mapping[int, int],
) -> bytes:
    """Everything from the end of the data, at `start`, to the end of the file."""
    data_end = to_record(DATA_END, bytes(4))
    summary_start = start + len(data_end)
    groups = {
        SCHEMA: b"".join(channel.schema_record() for channel in channels.values()),
        CHANNEL: b"".join(channel.channel_record() for channel in channels.values()),
        CHUNK_INDEX: b"".join(_chunk_index(chunk) for chunk in chunks),
        METADATA_INDEX: b"".join(
            to_record(METADATA_INDEX, struct.pack("<QQ", offset, length) + to_text(name))
            for name, offset, length in metadata
        ),
        STATISTICS: _statistics(channels, chunks, len(metadata), counts),
    }
    offset, offsets = summary_start, b""
    for opcode, records in groups.items():
        if records:
            offsets += to_record(SUMMARY_OFFSET, struct.pack("<BQQ", opcode, offset, len(records)))
        offset += len(records)
    footer = to_record(FOOTER, struct.pack("<QQI", summary_start, offset, 0))
    return data_end + b"".join(groups.values()) + offsets + footer + MAGIC


def _chunk_index(chunk: ChunkInfo) -> bytes:
    offsets = b"".join(struct.pack("<HQ", channel, offset) for channel, offset in chunk.index_offsets.items())
    content = struct.pack("<QQQQI", chunk.start, chunk.end, chunk.offset, chunk.length, len(offsets)) + offsets
    content += struct.pack("<Q", chunk.index_size) + to_text("") + struct.pack("<QQ", chunk.size, chunk.size)
    return to_record(CHUNK_INDEX, content)


def _statistics(
    channels: Mapping[int, Channel], chunks: list[ChunkInfo], metadata: int, counts: Mapping[int, int]
) -> bytes:
    start, end = min((c.start for c in chunks), default=0), max((c.end for c in chunks), default=0)
    head = struct.pack("<QHIIII", sum(counts.values()), len(channels), len(channels), 0, metadata, len(chunks))
    pairs = b"".join(struct.pack("<HQ", channel, count) for channel, count in counts.items())
    return to_record(STATISTICS, head + struct.pack("<QQI", start, end, len(pairs)) + pairs)


def take_text(content: bytes, offset: int) -> tuple[str, int]:
    """A text, and where what follows it begins."""
    (length,) = struct.unpack_from("<I", content, offset)
    end = offset + 4 + length
    return content[offset + 4 : end].decode(), end


def _take_mapping(content: bytes, offset: int) -> dict[str, str]:
    (length,) = struct.unpack_from("<I", content, offset)
    offset, end, values = offset + 4, offset + 4 + length, {}
    while offset < end:
        key, offset = take_text(content, offset)
        values[key], offset = take_text(content, offset)
    return values


def take_metadata(content: bytes) -> tuple[str, dict[str, str]]:
    """The name of a metadata record and the texts kept under it."""
    name, offset = take_text(content, 0)
    return name, _take_mapping(content, offset)


def take_channel(schema: bytes, content: bytes) -> Channel:
    """The channel of a record and of its schema's. Raises `TornError`: it cannot be one."""
    kind, offset = take_text(schema, 2)
    _, offset = take_text(schema, offset)
    definition, _ = take_text(schema, offset)
    topic, offset = take_text(content, 4)
    _, offset = take_text(content, offset)
    if not topic or not kind or "\0" in topic + kind + definition:
        raise TornError(f"expected a topic and its type, found {topic!r} and {kind!r}")
    return Channel(struct.unpack_from("<H", content)[0], topic, kind, definition, _take_mapping(content, offset))


def take_chunk(file: BinaryIO, offset: int, length: int, channels: Collection[int]) -> tuple[ChunkInfo, bool]:
    """The messages of a chunk up to the first that cannot be, found by stepping over them, and whether they are all.

    Raises:
        BagError: it is compressed, so another tool wrote it. TornError: its head cannot be.
    """
    start, end, size, _ = CHUNK_HEAD.unpack(file.read(CHUNK_HEAD.size))
    (named,) = struct.unpack("<I", file.read(4))
    if named and file.read(min(named, 8)) in (b"lz4", b"zstd"):
        raise BagError(f"{file.name}: expected uncompressed chunks, as this recorder writes, found others")
    if named or length != CHUNK_HEAD.size + 4 + 8 + size:
        raise TornError(f"{file.name}: expected a chunk of {length} bytes at byte {offset}, found one of {size}")
    first = file.tell() + 8
    info, position = ChunkInfo(offset, size, start, end, {}), first
    while position < first + size:
        file.seek(position)
        opcode, message, channel, _, time, _ = MESSAGE_HEAD.unpack(file.read(MESSAGE_HEAD.size))
        following = position + RECORD_HEAD.size + message
        if opcode != MESSAGE or channel not in channels or not start <= time <= end or following > first + size:
            info.size = position - first
            break
        info.index.setdefault(channel, []).append((time, position - first))
        position = following
    return info, info.size == size
