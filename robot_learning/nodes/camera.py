"""camera: pictures of an OpenCV source (device, stream, file or test pattern), stamped with when they were captured."""

from __future__ import annotations

import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from sensor_msgs.msg import CameraInfo

from robot_learning.contract import IMAGE_PREFIX
from robot_learning.nodes.base import ERROR, OK, SECOND, WARN, NodeConfig, RobotNode
from robot_learning.nodes.capture.calibration import CalibrationError, load_calibration
from robot_learning.nodes.capture.source import Source, SourceEnded, SourceError, Wish, is_file, open_source
from robot_learning.nodes.images import CameraPublisher, source_size
from robot_learning.nodes.running import run

HEALTH_PERIOD = 0.2  # [s, wall]
SILENT = 1.0  # no picture for so long is an error [s]
LEAVE = 3.0  # how long to wait for a source that hangs when the node stops [s]
SLOW = 0.7  # below this share of the contract's rate the status says so


@dataclass(frozen=True)
class Config(NodeConfig):
    """Parameters of camera."""

    camera: str = "front"
    """Which of the contract's cameras this is."""
    source: str = "0"
    """A device (0, /dev/video0), a stream's URL (rtsp://...), a video file, or `test` for a moving pattern (`test@0.008`: 8 ms
    into each period of the machine's clock)."""
    rate: float = 0.0
    """Pictures a second the source is asked for [Hz]; 0: as the contract says."""
    fourcc: str = ""
    """Pixel format a device is asked for, such as MJPG; empty: its default."""
    resize: bool = False
    """Scale pictures of another size to the contract's; false: another size is an error."""
    calibration: str = ""
    """YAML file of camera_calibration for camera_info; empty: uncalibrated."""
    driver_latency: float = 0.0
    """Time from exposure to arrival when the driver does not tell it, taken off the time stamp [s]."""
    loop: bool = True
    """Play a file again and again; false: once."""
    compressed: bool = False
    """Offer image_raw/compressed (JPEG) even if the contract reads raw pictures."""
    reconnect_period: float = 1.0
    """Pause between attempts to open a source that is lost [s]."""


class Camera(RobotNode[Config]):
    """Captures and publishes in a thread of its own; opens a lost source again and again, and says so meanwhile."""

    def __init__(self) -> None:
        super().__init__("camera", Config)
        self._stop = threading.Event()
        self._trouble, self._ended = "", False
        self._last_picture = time.monotonic()
        self._arrivals: list[float] = []

    # --- lifecycle ---------------------------------------------------------------------------------------------------

    def do_configure(self) -> None:
        """Read the calibration and create the topics; a file must be there, a device may come later."""
        config = self.config
        key = IMAGE_PREFIX + config.camera
        self._stream = self.contract.select([key]).observation[key]
        self._size = source_size(self._stream)
        info = self._calibration()
        self._wish = Wish(*self._size, rate=config.rate or self._stream.rate, fourcc=config.fourcc)
        if is_file(config.source):
            open_source(config.source, self._wish).close()
        self._publisher = CameraPublisher.of_stream(self, key, self._stream, info, config.compressed)
        self._health = self.wall_timer(HEALTH_PERIOD, self._report_health)

    def _calibration(self) -> CameraInfo:
        height, width = self._size
        if not self.config.calibration:
            return CameraInfo(height=height, width=width)
        info = load_calibration(Path(self.config.calibration).expanduser())
        if (info.height, info.width) != self._size:
            raise CalibrationError(
                f"{self.config.calibration} is for pictures of {info.width} x {info.height}, camera "
                f"{self.config.camera!r} has {width} x {height} in the contract; calibrate at that size"
            )
        return info

    def do_activate(self) -> None:
        """Start capturing."""
        self._stop.clear()
        self._trouble, self._ended, self._last_picture = "", False, time.monotonic()
        self._thread = threading.Thread(target=self._run, name="capture", daemon=True)
        self._thread.start()

    def do_deactivate(self) -> None:
        """Stop capturing and give the device back."""
        self._stop.set()
        self._thread.join(LEAVE)

    def do_cleanup(self) -> None:
        """Take the topics down."""
        if hasattr(self, "_publisher"):
            self.destroy_timer(self._health)
            self._publisher.destroy()

    # --- capturing, in a thread of its own -------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._capture_until_lost()
            except SourceEnded:
                self._ended = True
                return
            except SourceError as error:
                self._trouble = str(error)
                self.count("lost")
                self._stop.wait(self.config.reconnect_period)

    def _capture_until_lost(self) -> None:
        source: Source = open_source(self.config.source, self._wish, self.config.loop)
        try:
            while not self._stop.is_set():
                picture, age = source.read()
                self._publish(picture, self.now() - round((age or self.config.driver_latency) * SECOND))
        finally:
            source.close()

    def _publish(self, picture: np.ndarray, stamp: int) -> None:
        self._last_picture = time.monotonic()
        self._arrivals = [*self._arrivals[-30:], self._last_picture]
        if picture.shape[:2] != self._size and not self.config.resize:
            self._trouble = (
                f"the source gives {picture.shape[1]} x {picture.shape[0]}, the contract says "
                f"{self._size[1]} x {self._size[0]}: set the stream's source_shape, or resize to true"
            )
            return
        if picture.shape[:2] != self._size:
            picture = cv2.resize(picture, self._size[::-1], interpolation=cv2.INTER_AREA)
        self._trouble = ""
        self._publisher.publish(picture, stamp, "bgr8")

    # --- health ------------------------------------------------------------------------------------------------------

    def _report_health(self) -> None:
        if not self.is_active:
            return
        arrivals, silent = self._arrivals, time.monotonic() - self._last_picture
        rate = (len(arrivals) - 1) / (arrivals[-1] - arrivals[0]) if len(arrivals) > 1 else 0.0
        values = {"source": self.config.source, "rate [Hz]": rate}
        if self._ended:
            self.report(WARN, "the file has ended", **values)
        elif self._trouble:
            self.report(ERROR, self._trouble, **values)
        elif silent > SILENT:
            self.report(ERROR, f"no picture from {self.config.source!r} for more than {SILENT:g} s", **values)
        elif len(arrivals) > 30 and rate < SLOW * self._stream.rate:
            self.report(WARN, f"slower than the contract's {self._stream.rate:g} Hz, see rate", **values)
        else:
            self.report(OK, "running", **values)


def main(args: list[str] | None = None) -> int:
    """Run the node `camera`."""
    return run(Camera, args)


if __name__ == "__main__":
    sys.exit(main())
