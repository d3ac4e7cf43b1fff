"""Writing MCAP files (https://mcap.dev/spec) without copying the messages, and finishing those whose writer was killed.

Messages are collected into uncompressed chunks that go to the kernel in one piece, so a killed writer loses at most the last
chunk. A picture passes through untouched: no serialising, no compression, no copy in Python.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from robot_learning.data.files import DatasetError

MAGIC = b"\x89MCAP0\r\n"
LIBRARY = "robot_learning"
HEADER, FOOTER, SCHEMA, CHANNEL, MESSAGE, CHUNK, MESSAGE_INDEX, CHUNK_INDEX = range(0x01, 0x09)
STATISTICS, METADATA, METADATA_INDEX, SUMMARY_OFFSET, DATA_END = 0x0B, 0x0C, 0x0D, 0x0E, 0x0F
CHUNK_BYTES = 4 << 20
_RECORD = struct.Struct("<BQ")  # opcode, length
_MESSAGE = struct.Struct("<BQHIQQ")  # opcode, length, channel, sequence, log time, publish time
_CHUNK = struct.Struct("<QQQI")  # start, end, size, crc (0: none)


class BagError(DatasetError):
    """A bag cannot be read or written as asked; the message names the file, what was expected and what was found."""


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
        return _record(SCHEMA, struct.pack("<H", self.id) + _text(self.type) + _text("ros2msg") + _text(self.schema))

    def channel_record(self) -> bytes:
        """Its channel."""
        head = struct.pack("<HH", self.id, self.id) + _text(self.topic) + _text("cdr")
        return _record(CHANNEL, head + _mapping(self.metadata))


@dataclass
class _ChunkInfo:
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
        return _RECORD.size + _CHUNK.size + 4 + 8 + self.size


class McapWriter:
    """Writes one MCAP file. `metadata` maps a name to the texts kept under it; it is on the disk from the first moment.

    Raises:
        FileExistsError: the file exists. OSError: the disk refused; after any such error the file is cut back to its last
            whole chunk, and `close` still finishes it if the disk lets it.
    """

    def __init__(self, path: Path, metadata: Mapping[str, Mapping[str, str]]) -> None:
        self.path = path
        self.channels: dict[int, Channel] = {}
        self._chunks: list[_ChunkInfo] = []
        self._metadata: list[tuple[str, int, int]] = []
        self._pending: list[bytes | memoryview] = []
        self._pending_bytes = 0
        self._pending_info = _ChunkInfo(0, 0, 0, 0, {})
        self._sequence = 0
        self._file: BinaryIO = path.open("xb")
        fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._end = 0
        try:
            self._put([MAGIC, _record(HEADER, _text("ros2") + _text(LIBRARY))])
            for name, values in metadata.items():
                record = _record(METADATA, _text(name) + _mapping(values))
                self._metadata.append((name, self._end, len(record)))
                self._put([record])
        except BaseException:
            self.abandon()
            raise

    def add_channel(self, topic: str, kind: str, schema: str, metadata: Mapping[str, str]) -> int:
        """Declare a topic and return its channel id."""
        channel = Channel(len(self.channels) + 1, topic, kind, schema, dict(metadata))
        self._put([channel.schema_record(), channel.channel_record()])
        self.channels[channel.id] = channel
        return channel.id

    def write(self, channel: int, time: int, data: bytes) -> None:
        """Append a message with log time `time` [ns]."""
        info = self._pending_info
        if not self._pending:
            info.start = info.end = time
        info.start, info.end = min(info.start, time), max(info.end, time)
        info.index.setdefault(channel, []).append((time, self._pending_bytes))
        head = _MESSAGE.pack(MESSAGE, 22 + len(data), channel, self._sequence & 0xFFFFFFFF, time, time)
        self._sequence += 1
        self._pending += (head, data)
        self._pending_bytes += len(head) + len(data)
        if self._pending_bytes >= CHUNK_BYTES:
            self.flush()

    def flush(self) -> None:
        """Give what was written so far to the kernel: from here on it survives the death of this process."""
        if not self._pending:
            return
        info, parts = self._pending_info, self._pending
        info.offset, info.size = self._end, self._pending_bytes
        self._pending, self._pending_bytes, self._pending_info = [], 0, _ChunkInfo(0, 0, 0, 0, {})
        head = _RECORD.pack(CHUNK, info.length - _RECORD.size)
        head += _CHUNK.pack(info.start, info.end, info.size, 0) + _text("") + struct.pack("<Q", info.size)
        self._put([head, *parts, _index_records(info)])
        self._chunks.append(info)

    @property
    def message_counts(self) -> dict[int, int]:
        """Messages on the disk, by channel."""
        counts = dict.fromkeys(self.channels, 0)
        for chunk in self._chunks:
            for channel, entries in chunk.index.items():
                counts[channel] += len(entries)
        return counts

    @property
    def time_range(self) -> tuple[int, int]:
        """The first and last log time on the disk [ns], (0, 0) when there is none."""
        if not self._chunks:
            return 0, 0
        return min(c.start for c in self._chunks), max(c.end for c in self._chunks)

    @property
    def size(self) -> int:
        """Bytes on the disk."""
        return self._end

    def sync(self) -> None:
        """Make what was flushed survive a power cut."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Write the index and close the file."""
        try:
            self.flush()
            self._put([_summary(self._end, self.channels, self._chunks, self._metadata, self.message_counts)])
            self.sync()
        finally:
            self._file.close()

    def abandon(self) -> None:
        """Close the file as it is, without an index."""
        self._file.close()

    def _put(self, parts: list[bytes | memoryview]) -> None:
        try:
            self._file.writelines(parts)
            self._file.flush()
        except OSError:
            self._cut()
            raise
        self._end += sum(map(len, parts))

    def _cut(self) -> None:
        """Drop what a refused write left in the file and in Python's buffer."""
        descriptor = os.dup(self._file.fileno())
        with contextlib.suppress(OSError):  # the same refusal again, from the buffer
            self._file.close()
        os.ftruncate(descriptor, self._end)
        os.lseek(descriptor, self._end, os.SEEK_SET)
        self._file = os.fdopen(descriptor, "wb")

    @classmethod
    def reopen(cls, path: Path) -> McapWriter:
        """Take over a file whose writer was killed, with every whole chunk of it.

        Raises:
            BagError: its writer is alive, or it is no file of this writer.
        """
        writer = cls.__new__(cls)
        writer.path = path
        writer._file = path.open("r+b")
        try:
            fcntl.flock(writer._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            writer._file.close()
            raise BagError(f"{path}: is being recorded by a living process; stop that recording first") from None
        writer.channels, writer._chunks, writer._metadata = {}, [], []
        writer._pending, writer._pending_bytes, writer._pending_info = [], 0, _ChunkInfo(0, 0, 0, 0, {})
        writer._end = writer._sequence = 0
        try:
            writer._take_over()
        except BaseException:
            writer._file.close()
            raise
        return writer

    def _take_over(self) -> None:
        if self._file.read(len(MAGIC)) != MAGIC:
            raise BagError(f"{self.path}: expected an MCAP file, found something else")
        self._end = len(MAGIC)
        for opcode, offset, length in _records(self._file):
            if opcode in (DATA_END, FOOTER):
                break
            end = offset + _RECORD.size + length
            if opcode == METADATA:
                self._metadata.append((_take_text(self._file.read(length), 0)[0], offset, end - offset))
            elif opcode == SCHEMA:
                schema = self._file.read(length)
            elif opcode == CHANNEL:
                channel = _take_channel(schema, self._file.read(length))
                self.channels[channel.id] = channel
            elif opcode == CHUNK:
                self._chunks.append(_take_chunk(self._file, offset, length))
            self._end = end
        if self._chunks:  # its index records may have been cut off: they are written anew
            last = self._chunks[-1]
            self._end = last.offset + last.length
        self._file.truncate(self._end)
        self._file.seek(self._end)
        if self._chunks:
            self._put([_index_records(self._chunks[-1])])


def read_metadata(path: Path) -> dict[str, dict[str, str]]:
    """The texts kept in the file's metadata records, by name; a file whose writer was killed has them too.

    Raises:
        BagError: it is no MCAP file.
    """
    found = {}
    with path.open("rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            raise BagError(f"{path}: expected an MCAP file, found something else")
        for opcode, _, length in _records(file):
            if opcode == METADATA:
                name, values = _take_metadata(file.read(length))
                found[name] = values
    return found


def is_finished(path: Path) -> bool:
    """Whether the file has its index and end."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - len(MAGIC)))
        return size > 2 * len(MAGIC) and file.read() == MAGIC


def _records(file: BinaryIO) -> Iterator[tuple[int, int, int]]:
    """(opcode, offset, length) of each whole record from here on, the file placed at its content."""
    size = os.fstat(file.fileno()).st_size
    offset = file.tell()
    while offset + _RECORD.size <= size:
        file.seek(offset)
        opcode, length = _RECORD.unpack(file.read(_RECORD.size))
        if not opcode or offset + _RECORD.size + length > size:
            return
        yield opcode, offset, length
        offset += _RECORD.size + length


def _record(opcode: int, content: bytes) -> bytes:
    return _RECORD.pack(opcode, len(content)) + content


def _text(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<I", len(data)) + data


def _mapping(values: Mapping[str, str]) -> bytes:
    content = b"".join(_text(key) + _text(value) for key, value in values.items())
    return struct.pack("<I", len(content)) + content


def _index_records(chunk: _ChunkInfo) -> bytes:
    """The message indexes that follow a chunk; notes in it where they are."""
    start = chunk.offset + chunk.length
    records = b""
    for channel, entries in chunk.index.items():
        chunk.index_offsets[channel] = start + len(records)
        pairs = b"".join(struct.pack("<QQ", *entry) for entry in entries)
        records += _record(MESSAGE_INDEX, struct.pack("<HI", channel, len(pairs)) + pairs)
    chunk.index_size = len(records)
    return records


def _summary(
    start: int,
    channels: Mapping[int, Channel],
    chunks: list[_ChunkInfo],
    metadata: list[tuple[str, int, int]],
    counts: Mapping[int, int],
) -> bytes:
    """Everything from the end of the data, at `start`, to the end of the file."""
    data_end = _record(DATA_END, bytes(4))
    summary_start = start + len(data_end)
    groups = {
        SCHEMA: b"".join(channel.schema_record() for channel in channels.values()),
        CHANNEL: b"".join(channel.channel_record() for channel in channels.values()),
        CHUNK_INDEX: b"".join(_chunk_index(chunk) for chunk in chunks),
        METADATA_INDEX: b"".join(
            _record(METADATA_INDEX, struct.pack("<QQ", offset, length) + _text(name))
            for name, offset, length in metadata
        ),
        STATISTICS: _statistics(channels, chunks, len(metadata), counts),
    }
    offset, offsets = summary_start, b""
    for opcode, records in groups.items():
        if records:
            offsets += _record(SUMMARY_OFFSET, struct.pack("<BQQ", opcode, offset, len(records)))
        offset += len(records)
    footer = _record(FOOTER, struct.pack("<QQI", summary_start, offset, 0))
    return data_end + b"".join(groups.values()) + offsets + footer + MAGIC


def _chunk_index(chunk: _ChunkInfo) -> bytes:
    offsets = b"".join(struct.pack("<HQ", channel, offset) for channel, offset in chunk.index_offsets.items())
    content = struct.pack("<QQQQI", chunk.start, chunk.end, chunk.offset, chunk.length, len(offsets)) + offsets
    content += struct.pack("<Q", chunk.index_size) + _text("") + struct.pack("<QQ", chunk.size, chunk.size)
    return _record(CHUNK_INDEX, content)


def _statistics(
    channels: Mapping[int, Channel], chunks: list[_ChunkInfo], metadata: int, counts: Mapping[int, int]
) -> bytes:
    start, end = min((c.start for c in chunks), default=0), max((c.end for c in chunks), default=0)
    head = struct.pack("<QHIIII", sum(counts.values()), len(channels), len(channels), 0, metadata, len(chunks))
    pairs = b"".join(struct.pack("<HQ", channel, count) for channel, count in counts.items())
    return _record(STATISTICS, head + struct.pack("<QQI", start, end, len(pairs)) + pairs)


def _take_text(content: bytes, offset: int) -> tuple[str, int]:
    (length,) = struct.unpack_from("<I", content, offset)
    end = offset + 4 + length
    return content[offset + 4 : end].decode(), end


def _take_mapping(content: bytes, offset: int) -> dict[str, str]:
    (length,) = struct.unpack_from("<I", content, offset)
    offset, end, values = offset + 4, offset + 4 + length, {}
    while offset < end:
        key, offset = _take_text(content, offset)
        values[key], offset = _take_text(content, offset)
    return values


def _take_metadata(content: bytes) -> tuple[str, dict[str, str]]:
    name, offset = _take_text(content, 0)
    return name, _take_mapping(content, offset)


def _take_channel(schema: bytes, content: bytes) -> Channel:
    kind, offset = _take_text(schema, 2)
    _, offset = _take_text(schema, offset)
    definition, _ = _take_text(schema, offset)
    topic, offset = _take_text(content, 4)
    _, offset = _take_text(content, offset)
    return Channel(struct.unpack_from("<H", content)[0], topic, kind, definition, _take_mapping(content, offset))


def _take_chunk(file: BinaryIO, offset: int, length: int) -> _ChunkInfo:
    """A chunk's contents, found by stepping over its messages."""
    start, end, size, _ = _CHUNK.unpack(file.read(_CHUNK.size))
    if length != _CHUNK.size + 4 + 8 + size:
        raise BagError(f"{file.name}: expected uncompressed chunks, as this recorder writes, found others")
    first = file.tell() + 12
    info, position = _ChunkInfo(offset, size, start, end, {}), first
    while position < first + size:
        file.seek(position)
        _, message, channel, _, time, _ = _MESSAGE.unpack(file.read(_MESSAGE.size))
        info.index.setdefault(channel, []).append((time, position - first))
        position += _RECORD.size + message
    _index_records(info)
    return info
