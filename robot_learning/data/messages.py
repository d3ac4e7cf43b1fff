"""Raw ROS messages (CDR bytes) to arrays, without ROS: what the live nodes and the bag converter decode with alike."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from PIL import Image

from robot_learning.contract import JOINT_STATE, STATE, Contract, ContractError, Stream
from robot_learning.control.proprioception import JointNamesError, Proprioception
from robot_learning.errors import UserError

SECOND = 1_000_000_000  # [ns]
IMAGE, COMPRESSED_IMAGE = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
ARRAYS = ("std_msgs/msg/Float32MultiArray", "std_msgs/msg/Float64MultiArray")
STAMPED = (JOINT_STATE, IMAGE, COMPRESSED_IMAGE)
ENCODINGS = {
    "rgb8": (0, 1, 2),
    "bgr8": (2, 1, 0),
    "rgba8": (0, 1, 2, 3),
    "bgra8": (2, 1, 0, 3),
}  # where red, green, blue are
"""Accepted `Image.encoding`s: Pillow's raw mode (alpha is dropped) and bytes per pixel."""

Decoder = Callable[[bytes], np.ndarray]


class MessageFault(UserError, ValueError):
    """A message does not hold what the contract says; the text gives what was expected and what was found."""


@lru_cache(maxsize=1)
def typestore() -> Any:
    """The definitions of the standard messages (they are the same in Humble, Jazzy and Kilted)."""
    from rosbags.typesys import Stores, get_typestore

    return get_typestore(Stores.ROS2_JAZZY)


def decode(raw: bytes, kind: str) -> Any:
    """The message of type `kind` (`sensor_msgs/msg/JointState`) in CDR bytes.

    Raises:
        MessageFault: the bytes are no such message.
    """
    try:
        return typestore().deserialize_cdr(raw, kind)
    except Exception as error:  # the decoder trusts its input: cut-off bytes raise whatever they meet first
        raise MessageFault(f"expected a {kind}, found {len(raw)} bytes that do not decode ({error})") from error


def encode(kind: str, **fields: Any) -> bytes:
    """CDR bytes of a message of type `kind`; fields that are not given are zero or empty only if the type has none."""
    store = typestore()
    return bytes(store.serialize_cdr(store.types[kind](**fields), kind))


def header_stamp(raw: bytes) -> int:
    """The `header.stamp` [ns] of a message that begins with a header, read straight from its CDR bytes.

    Raises:
        MessageFault: there are too few bytes.
    """
    try:
        seconds, nanoseconds = struct.unpack_from("<iI" if raw[1] & 1 else ">iI", raw, 4)
    except (struct.error, IndexError) as error:
        raise MessageFault(f"expected a message with a header, found {len(raw)} bytes") from error
    return int(seconds) * SECOND + int(nanoseconds)


def make_decoder(contract: Contract, key: str) -> Decoder:
    """The function that turns raw messages of the contract's stream `key` into its arrays; it raises `MessageFault`.

    Raises:
        ContractError: the stream has a message type that cannot become such an array.
    """
    stream = contract.observation[key]
    if stream.type == IMAGE:
        return lambda raw: _image(raw, stream)
    if stream.type == COMPRESSED_IMAGE:
        return lambda raw: _compressed_image(raw, stream)
    if stream.type == JOINT_STATE and key == STATE:
        proprioception = Proprioception(contract)
        return lambda raw: _joint_state(raw, stream, proprioception)
    if stream.type in ARRAYS:
        return lambda raw: _array(raw, stream)
    raise ContractError(
        f"contract {contract.name!r}: {key}: no way from {stream.type} to an array; expected {JOINT_STATE} ({STATE} only), "
        f"{IMAGE}, {COMPRESSED_IMAGE} or one of {list(ARRAYS)}"
    )


def _joint_state(raw: bytes, stream: Stream, proprioception: Proprioception) -> np.ndarray:
    message = decode(raw, JOINT_STATE)
    try:
        values = proprioception(message.name, message.position, message.velocity)
    except JointNamesError as error:
        raise MessageFault(str(error)) from error
    return _finite(values, stream)


def _array(raw: bytes, stream: Stream) -> np.ndarray:
    data = decode(raw, stream.type).data
    if data.size != np.prod(stream.shape):
        raise MessageFault(f"expected {int(np.prod(stream.shape))} numbers, found {data.size}")
    return _finite(data.reshape(stream.shape).astype(stream.dtype), stream)


def _finite(values: np.ndarray, stream: Stream) -> np.ndarray:
    bad = np.flatnonzero(~np.isfinite(values.reshape(-1)))
    if len(bad):
        names = ", ".join(stream.names[i] if stream.names else str(i) for i in bad[:3])
        raise MessageFault(f"expected finite numbers, found {values.reshape(-1)[bad[0]]} at {names}")
    return values


def _image(raw: bytes, stream: Stream) -> np.ndarray:
    message = decode(raw, IMAGE)
    height, width = _source_size(stream)
    if message.encoding not in ENCODINGS or (message.height, message.width) != (height, width):
        raise MessageFault(
            f"expected {width}x{height} {' or '.join(ENCODINGS)}, "
            f"found {message.width}x{message.height} {message.encoding or 'without encoding'}"
        )
    order = ENCODINGS[message.encoding]
    depth = len(order)
    if message.step < width * depth or message.data.size != message.step * height:
        raise MessageFault(
            f"expected {height} rows of at least {width * depth} bytes, found {message.data.size} bytes, step {message.step}"
        )
    rows = message.data.reshape(height, message.step)[:, : width * depth]
    picture = _resized(rows.reshape(height, width, depth), stream)
    return np.ascontiguousarray(picture if message.encoding == "rgb8" else picture[..., list(order[:3])])


def _compressed_image(raw: bytes, stream: Stream) -> np.ndarray:
    message = decode(raw, COMPRESSED_IMAGE)
    height, width = _source_size(stream)
    try:
        picture = Image.open(io.BytesIO(message.data))
        if picture.size != (width, height):
            raise MessageFault(f"expected {width}x{height} {message.format}, found {picture.width}x{picture.height}")
        return _resized(np.asarray(picture.convert("RGB")), stream)
    except (OSError, SyntaxError, ValueError) as error:
        if isinstance(error, MessageFault):
            raise
        raise MessageFault(
            f"expected {width}x{height} jpeg or png, found {len(message.data)} bytes ({message.format}): {error}"
        ) from error


def _source_size(stream: Stream) -> tuple[int, int]:
    height, width = (stream.source_shape or stream.shape)[:2]
    return height, width


def _resized(picture: np.ndarray, stream: Stream) -> np.ndarray:
    """The picture at the stream's size, each new pixel the mean of the area it covers."""
    height, width = stream.shape[:2]
    if picture.shape[:2] == (height, width):
        return picture
    rows, columns = picture.shape[:2]
    while (
        rows % 2 == 0 and columns % 2 == 0 and rows >= 2 * height and columns >= 2 * width
    ):  # whole steps are much faster
        rows, columns = rows // 2, columns // 2
        picture = cv2.resize(picture, (columns, rows), interpolation=cv2.INTER_AREA)
    resized: np.ndarray = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
    return resized
