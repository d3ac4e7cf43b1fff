"""Random access to the frames of mp4 files.

A file is opened by FFmpeg's demuxer once, to learn where each packet is. After that a frame costs one `pread` of the
packets since its keyframe and their decoding: no probing, no seeking in a container, no new decoder.
"""

from __future__ import annotations

import errno
import os
import resource
import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.reformatter import VideoReformatter

from robot_learning.data.files import DamagedDatasetError
from robot_learning.data.video import ONE_THREAD, VIDEO_ERRORS
from robot_learning.errors import UserError


class OpenFilesError(UserError, OSError):
    """A video could not be opened because too many files are open; nothing is said about the video itself."""

    def __init__(self, path: Path, error: OSError) -> None:
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        super().__init__(
            f"{path}: expected room for one more open file, found {error.strerror or error}: this process may have {limit}. "
            f"The video may well be whole; raise the limit (ulimit -n {max(4096, 2 * limit)}) and start again"
        )


class VideoIndex:
    """Where the packets of one mp4 are, in decoding order, and which packet shows each frame, in presentation order."""

    def __init__(self, path: Path, root: Path | None = None) -> None:
        """Demux `path`.

        Raises:
            DamagedDatasetError: the file is missing, truncated or has no video. OpenFilesError: too many files are open.
        """
        self.path = path
        try:
            with av.open(str(path)) as container:
                stream = container.streams.video[0]
                packets = [p for p in container.demux(stream) if p.size]
                rows = [(p.pts, p.pos, p.size, p.is_keyframe) for p in packets]
                self.seconds = np.array([float(p.pts * p.time_base) for p in packets])
                self.codec = stream.codec_context.codec.name
                self.extradata = stream.codec_context.extradata
                self.shape = (stream.codec_context.height, stream.codec_context.width, 3)
        except (*VIDEO_ERRORS, IndexError, TypeError) as error:
            _require_open_files(path, error)
            raise DamagedDatasetError(path, "a readable video", str(error), root) from error
        if not rows or any(row[1] is None or row[1] < 0 for row in rows) or not rows[0][3]:
            raise DamagedDatasetError(path, "a video that starts with a keyframe", f"{len(rows)} packets", root)
        self.pts = [row[0] for row in rows]
        self.position = [row[1] for row in rows]
        self.size = [row[2] for row in rows]
        self.keyframe = np.maximum.accumulate([i if row[3] else 0 for i, row in enumerate(rows)]).tolist()
        order = np.argsort(np.array(self.pts), kind="stable")
        self.order: list[int] = order.tolist()  # packet of the i-th shown frame
        self.seconds = self.seconds[order]
        end = max(p + s for p, s in zip(self.position, self.size, strict=True))
        if path.stat().st_size < end:
            raise DamagedDatasetError(path, f"{end} bytes", f"{path.stat().st_size} bytes (truncated)", root)

    def __len__(self) -> int:
        return len(self.pts)


class _Decoder:
    """A decoder, and whether every frame of the packets it was given has come out."""

    def __init__(self, index: VideoIndex) -> None:
        context: Any = av.CodecContext.create(index.codec, "r")
        context.extradata = index.extradata
        context.thread_count = 1
        # Without it damaged packets are patched up with pixels of other frames, silently.
        context.options = {"err_detect": "explode"}
        self.context = context
        self.drained = False


class VideoReader:
    """Decodes frames of many mp4 files by number; keeps the indices, open files and decoders of the recent ones.

    Safe to use from several threads (one decodes at a time) and after `fork` or pickling.
    """

    def __init__(self, root: Path | None = None, max_open: int = 128) -> None:
        self.root = root
        self.max_open = max_open
        self._start()

    def _start(self) -> None:
        self._lock = threading.Lock()
        self._files: OrderedDict[Path, tuple[VideoIndex, int, _Decoder]] = OrderedDict()
        self._decoders: dict[tuple[Any, ...], _Decoder] = {}
        self._reformatter = VideoReformatter()

    def __getstate__(self) -> dict[str, Any]:
        return {"root": self.root, "max_open": self.max_open}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._start()

    def index(self, path: Path) -> VideoIndex:
        """The packet index of a file; raises what `VideoIndex` raises."""
        return self._open(path)[0]

    def frames(
        self, path: Path, numbers: Sequence[int], out: np.ndarray | None = None, rows: Sequence[int] | None = None
    ) -> np.ndarray:
        """Frames `numbers` (presentation order, any order, repeats allowed) of `path` as `(n, H, W, 3)` uint8.

        With `out` and `rows` given, frame i is written to `out[rows[i]]` instead, and `out` is returned.

        Raises:
            DamagedDatasetError: the file is missing, truncated, too short, of another size or does not decode.
            OpenFilesError: too many files are open.
        """
        with self._lock:
            index, descriptor, decoder = self._open(path)
            if out is None or rows is None:
                out, rows = np.empty((len(numbers), *index.shape), np.uint8), range(len(numbers))
            if out.shape[1:] != index.shape:
                raise DamagedDatasetError(path, f"images of shape {out.shape[1:]}", f"{index.shape}", self.root)
            wanted: dict[int, list[int]] = {}
            for row, number in zip(rows, numbers, strict=True):
                if not 0 <= number < len(index.order):
                    raise DamagedDatasetError(path, f"at least {number + 1} frames", f"{len(index)}", self.root)
                wanted.setdefault(index.order[number], []).append(row)
            try:
                if len(wanted) > 1 or not self._keyframe(index, descriptor, decoder, wanted, out):
                    self._decode(index, descriptor, decoder, wanted, out)
            except VIDEO_ERRORS as error:
                raise DamagedDatasetError(path, "frames that decode", str(error), self.root) from error
            return out

    def close(self) -> None:
        """Close every open file."""
        while self._files:
            _, (_, descriptor, _) = self._files.popitem()
            os.close(descriptor)
        self._decoders.clear()

    def __del__(self) -> None:
        if getattr(self, "_files", None):  # absent where the making of this failed
            self.close()

    def _open(self, path: Path) -> tuple[VideoIndex, int, _Decoder]:
        entry = self._files.get(path)
        if entry is None:
            index = VideoIndex(path, self.root)
            # One decoder serves every file with the same stream header; files we wrote all share it.
            kind = (index.codec, index.extradata, index.shape)
            decoder = self._decoders.get(kind) or self._decoders.setdefault(kind, _Decoder(index))
            entry = (index, _descriptor(path, self.root), decoder)
            self._files[path] = entry
            if len(self._files) > self.max_open:
                _, (_, oldest, _) = self._files.popitem(last=False)
                os.close(oldest)
        else:
            self._files.move_to_end(path)
        return entry

    def _keyframe(
        self, index: VideoIndex, descriptor: int, decoder: _Decoder, wanted: dict[int, list[int]], out: np.ndarray
    ) -> bool:
        """Decode the one packet in `wanted` if it is a keyframe; tells whether its frame came out.

        It needs nothing from other packets, so a decoder that holds none is not flushed, which costs a tenth of a frame.
        """
        ((target, rows),) = wanted.items()
        if index.keyframe[target] != target or not decoder.drained:
            return False
        decoder.drained = False
        try:
            frames = decoder.context.decode(_packet(index, descriptor, target))
        except VIDEO_ERRORS:  # the flushed decoder shall say what is wrong
            return False
        if len(frames) != 1 or frames[0].pts != index.pts[target]:
            return False
        self._store(frames, {frames[0].pts: rows}, out)
        decoder.drained = True
        return True

    def _decode(
        self, index: VideoIndex, descriptor: int, decoder: _Decoder, wanted: dict[int, list[int]], out: np.ndarray
    ) -> None:
        """Decode the packets in `wanted` (packet number -> rows of `out`), each run of them in one pass."""
        context = decoder.context
        todo = sorted(wanted)
        rows_of = {index.pts[packet]: wanted[packet] for packet in todo}
        following, pending = -1, 0
        decoder.drained = False
        for target in todo:
            if index.pts[target] not in rows_of:
                continue
            start = index.keyframe[target]
            if not start <= following <= target + 1:
                if following >= 0:
                    self._store(context.decode(None), rows_of, out)
                context.flush_buffers()
                following, pending = start, 0
            for position in range(following, target + 1):
                frames = context.decode(_packet(index, descriptor, position))
                pending += 1 - len(frames)
                self._store(frames, rows_of, out)
            following = target + 1
        if rows_of:  # a decoder that reorders still holds them
            self._store(context.decode(None), rows_of, out)
        else:
            decoder.drained = pending == 0
        if rows_of:
            raise OSError(f"{len(rows_of)} frames did not come out of the decoder")

    def _store(self, frames: list[Any], rows_of: dict[int, list[int]], out: np.ndarray) -> None:
        for frame in frames:
            for row in rows_of.pop(frame.pts, ()):
                plane: Any = self._reformatter.reformat(frame, format="rgb24", **ONE_THREAD).planes[0]
                height, width, channels = out.shape[1:]
                pixels = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[:height, : width * channels]
                out[row] = pixels.reshape(height, width, channels)


def _descriptor(path: Path, root: Path | None) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        _require_open_files(path, error)
        raise DamagedDatasetError(path, "a readable video", str(error), root) from error


def _require_open_files(path: Path, error: Exception) -> None:
    """Raise `OpenFilesError` where `error` says that no more files can be opened."""
    if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
        raise OpenFilesError(path, error) from error


def _packet(index: VideoIndex, descriptor: int, position: int) -> Any:
    packet = av.Packet(os.pread(descriptor, index.size[position], index.position[position]))
    packet.pts = index.pts[position]
    return packet
