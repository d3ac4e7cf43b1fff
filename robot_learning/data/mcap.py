"""Writing MCAP files (https://mcap.dev/spec) without copying the messages, and finishing those whose writer was killed.

Messages are collected into uncompressed chunks that go to the kernel in one piece, so a killed writer loses at most the last
chunk. A picture passes through untouched: no serialising, no compression, no copy in Python.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from robot_learning.data.mcap_records import (
    CHANNEL,
    CHUNK,
    DATA_END,
    FOOTER,
    HEADER,
    MAGIC,
    MESSAGE,
    MESSAGE_HEAD,
    METADATA,
    RECORD_HEAD,
    SCHEMA,
    BagError,
    Channel,
    ChunkInfo,
    TornError,
    index_records,
    records,
    summary_records,
    take_channel,
    take_chunk,
    take_metadata,
    to_mapping,
    to_record,
    to_text,
)

__all__ = ["BagError", "McapWriter", "is_finished", "read_metadata"]

LIBRARY = "robot_learning"
CHUNK_BYTES = 4 << 20
TORN = (TornError, struct.error, UnicodeDecodeError)
"""What reading a record raises that a power cut has torn."""


class McapWriter:
    """Writes one MCAP file. `metadata` maps a name to the texts kept under it; it is on the disk from the first moment.

    Raises:
        FileExistsError: the file exists. OSError: the disk refused; after any such error the file is cut back to its last
            whole chunk, and `close` still finishes it if the disk lets it.
    """

    def __init__(self, path: Path, metadata: Mapping[str, Mapping[str, str]]) -> None:
        self.path = path
        self.channels: dict[int, Channel] = {}
        self._chunks: list[ChunkInfo] = []
        self._metadata: list[tuple[str, int, int]] = []
        self._pending: list[bytes | memoryview] = []
        self._pending_bytes = 0
        self._pending_info = ChunkInfo(0, 0, 0, 0, {})
        self._sequence = 0
        self._file: BinaryIO = path.open("xb")
        fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._end = 0
        try:
            self._put([MAGIC, to_record(HEADER, to_text("ros2") + to_text(LIBRARY))])
            for name, values in metadata.items():
                record = to_record(METADATA, to_text(name) + to_mapping(values))
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
        head = MESSAGE_HEAD.pack(MESSAGE, 22 + len(data), channel, self._sequence & 0xFFFFFFFF, time, time)
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
        self._pending, self._pending_bytes, self._pending_info = [], 0, ChunkInfo(0, 0, 0, 0, {})
        self._put([info.head(), *parts, index_records(info)])
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
            self._put([summary_records(self._end, self.channels, self._chunks, self._metadata, self.message_counts)])
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
        """Take over a file whose writer was killed, with all of it up to the first record that cannot be.

        A power cut can leave zeros in the file. What comes after them, if anything, is kept beside it as `<name>.torn`.

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
        writer._pending, writer._pending_bytes, writer._pending_info = [], 0, ChunkInfo(0, 0, 0, 0, {})
        writer._end = writer._sequence = 0
        writer._schema = b""
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
        torn = False
        try:
            for opcode, offset, length in records(self._file):
                if opcode in (DATA_END, FOOTER):
                    break
                self._take(opcode, offset, length)
                self._end = offset + RECORD_HEAD.size + length
        except TORN:
            torn = True
        if self._chunks:  # its index records may have been cut off: they are written anew
            last = self._chunks[-1]
            self._end = last.offset + last.length
        if torn:
            self._keep_rest()
        self._file.truncate(self._end)
        if self._chunks:
            self._file.seek(last.offset)
            self._file.write(last.head())  # shorter where it was torn
            self._file.seek(self._end)
            self._put([index_records(last)])
        self._file.seek(self._end)

    def _take(self, opcode: int, offset: int, length: int) -> None:
        if opcode == METADATA:
            name, _ = take_metadata(self._file.read(length))
            self._metadata.append((name, offset, RECORD_HEAD.size + length))
        elif opcode == SCHEMA:
            self._schema = self._file.read(length)
        elif opcode == CHANNEL:
            channel = take_channel(self._schema, self._file.read(length))
            self.channels[channel.id] = channel
        elif opcode == CHUNK:
            chunk, whole = take_chunk(self._file, offset, length, self.channels)
            if chunk.size:
                index_records(chunk)
                self._chunks.append(chunk)
            if not whole:
                raise TornError(f"{self.path}: expected whole messages in the chunk at byte {offset}")

    def _keep_rest(self) -> None:
        """Copy what comes after the whole records to a file beside this one, unless it is all zeros."""
        self._file.seek(self._end)
        if not any(block.strip(b"\0") for block in iter(lambda: self._file.read(CHUNK_BYTES), b"")):
            return
        self._file.seek(self._end)
        with self.path.with_name(f"{self.path.name}.torn").open("wb") as rest:
            shutil.copyfileobj(self._file, rest)
            rest.flush()
            os.fsync(rest.fileno())


def read_metadata(path: Path) -> dict[str, dict[str, str]]:
    """The texts kept in the file's metadata records, by name; a file whose writer was killed, or that is torn, has them too.

    Raises:
        BagError: it is no MCAP file.
    """
    found = {}
    with path.open("rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            raise BagError(f"{path}: expected an MCAP file, found something else")
        with contextlib.suppress(*TORN):  # who reads the messages is told of it
            for opcode, _, length in records(file):
                if opcode == METADATA:
                    name, values = take_metadata(file.read(length))
                    found[name] = values
    return found


def is_finished(path: Path) -> bool:
    """Whether the file has its index and end."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - len(MAGIC)))
        return size > 2 * len(MAGIC) and file.read() == MAGIC
