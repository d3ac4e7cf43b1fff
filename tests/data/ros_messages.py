"""Raw ROS messages, as they come off the wire, made without ROS."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image

from robot_learning.contract import Contract
from robot_learning.data.messages import SECOND, encode, typestore

from .recordings import make_image

MILLISECOND = SECOND // 1000


def header(stamp: int, frame_id: str = "") -> Any:
    types = typestore().types
    time = types["builtin_interfaces/msg/Time"](stamp // SECOND, stamp % SECOND)
    return types["std_msgs/msg/Header"](time, frame_id)


def joint_state(contract: Contract, stamp: int, offset: float = 0.0) -> bytes:
    """The robot at home plus `offset` [rad], the gripper half closed."""
    names = [*contract.joints.names, contract.gripper.joint]
    middle = (contract.gripper.open + contract.gripper.closed) / 2
    positions = np.array([*(np.array(contract.joints.home) + offset), middle])
    return joint_state_of(stamp, names, positions)


def joint_state_of(stamp: int, names: list[str], positions: np.ndarray) -> bytes:
    return encode(
        "sensor_msgs/msg/JointState",
        header=header(stamp), name=names, position=positions, velocity=np.zeros(len(names)), effort=np.zeros(0),
    )  # fmt: skip


def image(stamp: int, pixels: np.ndarray, encoding: str = "rgb8", padding: int = 0) -> bytes:
    """`pixels` `(H, W, C)` uint8, already in the order that `encoding` names; rows padded by `padding` bytes."""
    rows = np.pad(pixels.reshape(len(pixels), -1), ((0, 0), (0, padding)))
    return encode(
        "sensor_msgs/msg/Image",
        header=header(stamp), height=pixels.shape[0], width=pixels.shape[1], encoding=encoding, is_bigendian=0,
        step=rows.shape[1], data=rows.reshape(-1),
    )  # fmt: skip


def compressed_image(stamp: int, pixels: np.ndarray, kind: str = "png") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    data = np.frombuffer(buffer.getvalue(), np.uint8)
    return encode("sensor_msgs/msg/CompressedImage", header=header(stamp), format=kind, data=data)


def array(values: np.ndarray) -> bytes:
    """A MultiArray of the values' own dtype."""
    types = typestore().types
    layout = types["std_msgs/msg/MultiArrayLayout"]([], 0)
    kind = "std_msgs/msg/Float32MultiArray" if values.dtype == np.float32 else "std_msgs/msg/Float64MultiArray"
    return encode(kind, layout=layout, data=values)


def messages_at(contract: Contract, stamp: int, t: int = 0) -> dict[str, bytes]:
    """One message of each stream of the contract, stamped `stamp`, by topic."""
    found = {}
    for number, stream in enumerate(contract.observation.values()):
        if stream.type == "sensor_msgs/msg/JointState":
            found[stream.topic] = joint_state(contract, stamp, 0.01 * t)
        elif stream.type == "sensor_msgs/msg/Image":
            found[stream.topic] = image(stamp, make_image(number, t, (stream.source_shape or stream.shape)[0]))
        else:
            found[stream.topic] = array(np.full(stream.shape, t, np.float32))
    return found
