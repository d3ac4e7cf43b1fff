"""Sources of pictures: devices, streams and files by OpenCV, and a test pattern."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from robot_learning.errors import UserError

TIMEOUT = 2000  # a stream that sends nothing for so long is lost [ms]
PLAUSIBLE = 1.0  # a driver's time stamp older than this is none [s]
TEST = "test"
TEST_SIZE = (480, 640)  # height, width [pixel]


class SourceError(UserError, RuntimeError):
    """A source cannot be opened, or gives no pictures any more."""


class SourceEnded(Exception):
    """The file was played to its end."""


@dataclass(frozen=True)
class Wish:
    """What a device is asked for; 0 or empty: whatever it likes. `height`, `width` [pixel], `rate` [Hz], `fourcc` as in MJPG."""

    height: int = 0
    width: int = 0
    rate: float = 0.0
    fourcc: str = ""


class Source(Protocol):
    """Gives pictures one by one."""

    def read(self) -> tuple[np.ndarray, float]:
        """Wait for the next picture: `(H, W, 3)` uint8 BGR, and how long ago it was captured [s].

        Raises:
            SourceError: there are no pictures any more. SourceEnded: the file is over.
        """

    def close(self) -> None:
        """Give the device back."""


def is_file(source: str) -> bool:
    """Whether the source is a file rather than a device, a stream or the test pattern."""
    return not (source.split("@")[0] == TEST or source.isdigit() or source.startswith("/dev/") or "://" in source)


def open_source(source: str, wish: Wish, loop: bool = True) -> Source:
    """Open `test`, a device (index or /dev/...), a stream's URL or a file, which is played in a `loop` or once.

    `test@0.008` gives its pictures 8 ms after each whole period of the machine's steady clock, so that several are as far apart
    as cameras with a common trigger.

    Raises:
        SourceError: it cannot be opened; says what was tried.
    """
    if source.split("@")[0] == TEST:
        return TestPattern(wish, _phase(source))
    if is_file(source):
        return FileSource(source, wish, loop)
    return LiveSource(source, wish)


def _phase(source: str) -> float | None:
    """The seconds in `test@SECONDS`; None: wherever it happens to begin."""
    _, at, seconds = source.partition("@")
    if not at:
        return None
    try:
        phase = float(seconds)
    except ValueError:
        phase = math.nan
    if not math.isfinite(phase):
        raise SourceError(f"source {source!r}: after test@ comes a number of seconds, such as test@0.008")
    return phase


class LiveSource:
    """A camera device or a network stream: pictures come when they come."""

    def __init__(self, source: str, wish: Wish) -> None:
        self._source = source
        if "://" in source:
            timeouts = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, TIMEOUT, cv2.CAP_PROP_READ_TIMEOUT_MSEC, TIMEOUT]
            self._capture = cv2.VideoCapture(source, cv2.CAP_FFMPEG, timeouts)
        else:
            self._capture = cv2.VideoCapture(int(source) if source.isdigit() else source)
        if not self._capture.isOpened():
            raise SourceError(f"camera {source!r} cannot be opened; is it plugged in, free, and may this user read it?")
        self._ask(wish)

    def _ask(self, wish: Wish) -> None:
        if wish.fourcc:  # before the size: which sizes there are depends on it
            self._capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*wish.fourcc))
        for name, value in (("WIDTH", wish.width), ("HEIGHT", wish.height)):
            if value:
                self._capture.set(getattr(cv2, f"CAP_PROP_FRAME_{name}"), value)
        if wish.rate:
            self._capture.set(cv2.CAP_PROP_FPS, wish.rate)
        self._capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # a queue of pictures is a queue of delays

    def read(self) -> tuple[np.ndarray, float]:
        """See `Source`; the age is what the driver's time stamp says, 0 when it gives none."""
        if not self._capture.grab():
            raise SourceError(f"camera {self._source!r} gives no pictures any more")
        age = driver_age(self._capture.get(cv2.CAP_PROP_POS_MSEC), time.monotonic())
        arrived, picture = self._capture.retrieve()
        if not arrived:
            raise SourceError(f"camera {self._source!r}: a picture could not be decoded")
        return picture, age

    def close(self) -> None:
        """See `Source`."""
        self._capture.release()


def driver_age(driver_stamp: float, monotonic: float) -> float:
    """How old a picture is [s] by its driver's `driver_stamp` [ms], 0 when that is none of the clock `monotonic` [s].

    Video4Linux stamps buffers on the monotonic clock when they are filled; other drivers count from the stream's start.
    """
    age = monotonic - driver_stamp / 1000
    return age if 0.0 <= age < PLAUSIBLE else 0.0


class FileSource:
    """A video file, played at `wish.rate` or its own."""

    def __init__(self, path: str, wish: Wish, loop: bool) -> None:
        self._path, self._loop = path, loop
        if not Path(path).is_file():
            raise SourceError(
                f"there is no file {path}; a source is `test`, a device (0, /dev/video0), a URL or a file"
            )
        self._capture = cv2.VideoCapture(path)
        if not self._capture.isOpened():
            raise SourceError(f"{path} is not a video that OpenCV can read")
        self._pace = Pace(wish.rate or self._capture.get(cv2.CAP_PROP_FPS) or 30.0)
        self._played = 0

    def read(self) -> tuple[np.ndarray, float]:
        """See `Source`."""
        arrived, picture = self._capture.read()
        if not arrived:
            if not self._played:
                raise SourceError(f"{self._path} holds no pictures that OpenCV can read")
            if not self._loop:
                raise SourceEnded(self._path)
            self._capture.release()
            self._capture, self._played = cv2.VideoCapture(self._path), 0
            return self.read()
        self._played += 1
        self._pace.wait()
        return picture, 0.0

    def close(self) -> None:
        """See `Source`."""
        self._capture.release()


class TestPattern:
    """A moving pattern, for trying things out and for benchmarks: costs next to nothing to make."""

    __test__ = False  # not a test case, whatever pytest thinks of the name

    def __init__(self, wish: Wish, phase: float | None = None) -> None:
        height, width = wish.height or TEST_SIZE[0], wish.width or TEST_SIZE[1]
        x, y = np.meshgrid(np.arange(2 * width), np.arange(height))
        channels = (255 * x // (2 * width), 255 * y // height, 64 * ((x * 8 // width + y * 6 // height) % 4))
        self._wide, self._width, self._count = np.stack(channels, axis=-1).astype(np.uint8), width, 0
        self._pace = Pace(wish.rate or 30.0, phase)

    def read(self) -> tuple[np.ndarray, float]:
        """See `Source`; every picture is shifted by 4 pixels against the one before."""
        self._pace.wait()
        left = 4 * self._count % self._width
        self._count += 1
        return np.ascontiguousarray(self._wide[:, left : left + self._width]), 0.0

    def close(self) -> None:
        """See `Source`."""


class Pace:
    """Waits so that it is left `rate` times a second, without hurrying after a pause.

    Args:
        rate: [Hz]. phase: of each period of the steady clock, when it is left [s]; None: it begins at once.
    """

    def __init__(self, rate: float, phase: float | None = None) -> None:
        self._period, self._phase = 1.0 / rate, phase
        self._next = self._beginning()

    def wait(self) -> None:
        """Sleep until the next period begins."""
        ahead = self._next - time.monotonic()
        if ahead > 0:
            time.sleep(ahead)
        elif ahead < -self._period:
            self._next = self._beginning()
        self._next += self._period

    def _beginning(self) -> float:
        now = time.monotonic()
        return now if self._phase is None else now + (self._phase - now) % self._period
