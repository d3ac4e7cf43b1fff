"""Pictures as ROS messages: the publishers of one camera, in the layout of image_transport and camera drivers."""

from __future__ import annotations

import array
from typing import Any

import cv2
import numpy as np
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from robot_learning.contract import IMAGE_PREFIX, Stream
from robot_learning.nodes.base import ns_to_stamp, reliable

COMPRESSED = "sensor_msgs/msg/CompressedImage"
JPEG_QUALITY = 90
DEPTH = 5


def camera_name(key: str) -> str:
    """`front` of `observation.images.front`."""
    return key.removeprefix(IMAGE_PREFIX)


def source_size(stream: Stream) -> tuple[int, int]:
    """Height and width [pixel] that the camera of an image stream publishes."""
    shape = stream.source_shape or stream.shape
    return shape[0], shape[1]


def fill(message: Image, picture: np.ndarray, encoding: str = "rgb8") -> None:
    """Put a picture `(H, W, 3)` uint8 into a message (bytes or an ndarray as `data` would cost 10 to 1000 times as much)."""
    data = array.array("B")
    data.frombytes(np.ascontiguousarray(picture).data.cast("B"))
    message.height, message.width = picture.shape[:2]
    message.encoding, message.step, message.data = encoding, 3 * picture.shape[1], data


def pinhole_info(height: int, width: int, field_of_view: float) -> CameraInfo:
    """Intrinsics of an ideal camera with square pixels and this vertical field of view [rad].

    Pixel centres have whole coordinates, as in OpenCV and image_geometry, so the axis meets the picture at (size - 1) / 2.
    """
    focal = 0.5 * height / np.tan(0.5 * field_of_view)
    cx, cy = 0.5 * (width - 1), 0.5 * (height - 1)
    info = CameraInfo(height=height, width=width, distortion_model="plumb_bob", d=[0.0] * 5)
    info.k = [focal, 0.0, cx, 0.0, focal, cy, 0.0, 0.0, 1.0]
    info.r = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
    info.p = [focal, 0.0, cx, 0.0, 0.0, focal, cy, 0.0, 0.0, 0.0, 1.0, 0.0]
    return info


class CameraPublisher:
    """`<camera>/image_raw`, `image_raw/compressed` (JPEG) and `camera_info` of one camera.

    A picture is turned into a message only for topics that somebody reads, as image_transport does.

    Args:
        topic: of the raw pictures; info: sent along with every picture, under its time stamp and frame.
        compressed: offer the compressed topic as well.
    """

    def __init__(self, node: Node, topic: str, frame: str, info: CameraInfo, compressed: bool) -> None:
        self._image, self._info, self._jpeg = Image(), info, CompressedImage()
        for message in (self._image, self._info, self._jpeg):
            message.header.frame_id = frame
        self._node = node
        self._raw = node.create_publisher(Image, topic, reliable(DEPTH))
        self._compressed = (
            node.create_publisher(CompressedImage, f"{topic}/compressed", reliable(DEPTH)) if compressed else None
        )
        self._infos = node.create_publisher(CameraInfo, f"{topic.rpartition('/')[0]}/camera_info", reliable(DEPTH))

    @staticmethod
    def of_stream(node: Node, key: str, stream: Stream, info: CameraInfo, compressed: bool = False) -> CameraPublisher:
        """The publisher a contract's image stream asks for; `compressed`: offer that variant in any case."""
        asked = stream.type == COMPRESSED
        topic = stream.topic.removesuffix("/compressed") if asked else stream.topic
        return CameraPublisher(node, topic, f"{camera_name(key)}_optical_frame", info, compressed or asked)

    @property
    def _publishers(self) -> list[Any]:
        return [publisher for publisher in (self._raw, self._compressed, self._infos) if publisher is not None]

    @property
    def wanted(self) -> bool:
        """Whether anybody reads one of the topics."""
        return any(publisher.get_subscription_count() for publisher in self._publishers)

    def publish(self, picture: np.ndarray, stamp: int, encoding: str = "rgb8") -> None:
        """Send a picture `(H, W, 3)` uint8, `rgb8` or `bgr8`, that was captured at `stamp` [ns]."""
        time = ns_to_stamp(stamp)
        if self._raw.get_subscription_count():
            self._image.header.stamp = time
            fill(self._image, picture, encoding)
            self._raw.publish(self._image)
        if self._compressed is not None and self._compressed.get_subscription_count():
            self._jpeg.header.stamp = time
            self._jpeg.format = f"{encoding}; jpeg compressed bgr8"
            self._jpeg.data = jpeg(picture if encoding == "bgr8" else picture[..., ::-1])
            self._compressed.publish(self._jpeg)
        if self._infos.get_subscription_count():
            self._info.header.stamp = time
            self._infos.publish(self._info)

    def destroy(self) -> None:
        """Take the topics down."""
        for publisher in self._publishers:
            self._node.destroy_publisher(publisher)


def jpeg(picture: np.ndarray) -> array.array[int]:
    """A picture `(H, W, 3)` uint8 BGR as JPEG."""
    _, encoded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    data = array.array("B")
    data.frombytes(encoded.data.cast("B"))
    return data
