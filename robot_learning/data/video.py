"""Encoding camera frames to mp4 while they are recorded."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.reformatter import VideoReformatter

SMALL_IMAGE = 256 * 256
# Most errors of PyAV are an OSError or a ValueError as well, but not all.
VIDEO_ERRORS = (OSError, av.FFmpegError)


def _one_thread() -> dict[str, Any]:
    """Keeps swscale on one thread: its default, one per core, costs ten times the conversion of a small image itself."""
    try:
        VideoReformatter().reformat(av.VideoFrame(16, 16, "rgb24"), format="yuv420p", threads=1)
    except TypeError:  # before PyAV had the option there was one thread
        return {}
    return {"threads": 1}


ONE_THREAD = _one_thread()


@dataclass(frozen=True)
class VideoConfig:
    """How camera streams are encoded. The default favours cheap random access and plays in every browser.

    Every frame is a keyframe, so that a random read decodes one packet. Measured on 96x96 images of the playroom at equal
    error, a keyframe on every second frame saves a third of the bytes and costs a quarter more to read; AV1 costs seven
    times as much to encode and three times as much to read (docs/dataset.md has the table).

    Attributes:
        codec: an encoder of FFmpeg: "libx264" or "libsvtav1".
        crf: constant rate factor, lower is better and larger.
        gop: frames per keyframe; a random read decodes at most this many frames.
        preset: the encoder's speed setting.
        pix_fmt: pixel format; "yuv420p" is the one every player knows.
    """

    codec: str = "libx264"
    crf: int = 14
    gop: int = 1
    preset: str = "veryfast"
    pix_fmt: str = "yuv420p"

    def options(self) -> dict[str, str]:
        """Options for the encoder."""
        options = {"crf": str(self.crf), "preset": self.preset}
        if self.codec == "libx264":
            # No B-frames: a frame leaves the decoder as soon as its packet is in. fastdecode: no deblocking, no CABAC.
            options |= {"bf": "0", "tune": "fastdecode"}
        if self.codec == "libsvtav1":
            options |= {"svtav1-params": "lp=1"}
        return options

    def feature_info(self, shape: tuple[int, ...], fps: int) -> dict[str, Any]:
        """The `info` of a video feature in `meta/info.json`, as LeRobot names it. `shape` is `(H, W, C)`."""
        names = {"libx264": "h264", "libsvtav1": "av1", "libx265": "hevc"}
        return {
            "video.height": shape[0],
            "video.width": shape[1],
            "video.codec": names.get(self.codec, self.codec),
            "video.pix_fmt": self.pix_fmt,
            "video.is_depth_map": False,
            "is_depth_map": False,
            "video.fps": fps,
            "video.channels": shape[2],
            "has_audio": False,
            "video.g": self.gop,
            "video.crf": self.crf,
            "video.preset": self.preset,
        }


def _real_time_threads() -> set[int]:
    """The threads of this process with real-time scheduling; none where the system cannot say."""
    tasks = Path("/proc/self/task")
    if not hasattr(os, "sched_getscheduler") or not tasks.is_dir():
        return set()
    found = set()
    for task in tasks.iterdir():
        with contextlib.suppress(OSError):  # it ended meanwhile
            if os.sched_getscheduler(int(task.name)) in (os.SCHED_FIFO, os.SCHED_RR):
                found.add(int(task.name))
    return found


@contextlib.contextmanager
def ordinary_scheduling() -> Iterator[None]:
    """Undo what SVT-AV1 does when root opens it.

    It gives the calling thread, and by inheritance its own threads and every process started later, the highest
    real-time priority: one busy loop among them then stops everything else on that core.
    """
    before = _real_time_threads()
    try:
        yield
    finally:
        for thread in _real_time_threads() - before:
            with contextlib.suppress(OSError):
                os.sched_setscheduler(thread, os.SCHED_OTHER, os.sched_param(0))


class VideoEncoder:
    """Encodes frames to one mp4 of constant frame rate as they come; frame i has the timestamp i / fps.

    Raises (all methods): one of VIDEO_ERRORS when the disk or the encoder refuses.
    """

    def __init__(self, path: Path, shape: tuple[int, ...], fps: int, config: VideoConfig) -> None:
        self.path = path
        self.count = 0
        # A Python file, not a path: its errors (disk full) reach us as OSError, and it can be fsynced.
        self._file = open(path, "wb")  # noqa: SIM115 - closed in close() and abort()
        try:
            self._container = av.open(self._file, "w", format="mp4")
            stream: Any = self._container.add_stream(config.codec, rate=fps, options=config.options())
            stream.height, stream.width = shape[:2]
            stream.pix_fmt = config.pix_fmt
            stream.gop_size = config.gop
            stream.codec_context.time_base = Fraction(1, fps)
            if shape[0] * shape[1] <= SMALL_IMAGE:
                stream.codec_context.thread_count = 1
        except BaseException:
            self._file.close()
            raise
        self._stream = stream
        self._pix_fmt = config.pix_fmt
        self._reformatter = VideoReformatter()

    def write(self, image: np.ndarray) -> None:
        """Encode one image `(H, W, 3)` uint8."""
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
        # Converted here, because the encoder would use one thread per core.
        frame = self._reformatter.reformat(frame, format=self._pix_fmt, **ONE_THREAD)
        frame.pts = self.count
        frame.time_base = self._stream.codec_context.time_base
        with (
            ordinary_scheduling() if self.count == 0 else contextlib.nullcontext()
        ):  # the encoder opens with its first frame
            packets = self._stream.encode(frame)
        for packet in packets:
            self._container.mux(packet)
        self.count += 1

    def close(self) -> None:
        """Finish the file and put it on the disk."""
        try:
            for packet in self._stream.encode(None):
                self._container.mux(packet)
            self._container.close()
            self._file.flush()
            os.fsync(self._file.fileno())
        finally:
            self._file.close()

    def abort(self) -> None:
        """Drop the file, whatever state it is in."""
        with contextlib.suppress(*VIDEO_ERRORS, ValueError):  # the disk refused; the file is removed anyway
            self._container.close()
        with contextlib.suppress(OSError):
            self._file.close()
        self.path.unlink(missing_ok=True)
