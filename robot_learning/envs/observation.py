"""What the playroom's environments observe: proprioception, object state and pictures, with names and units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from robot_learning.contract import ENVIRONMENT_STATE, IMAGE_PREFIX, STATE, Contract, Stream
from robot_learning.envs.playroom import FURNITURE_JOINTS, Playroom
from robot_learning.envs.rendering import Camera

_POINTS = ("drawer_handle", "door_handle", "button_red", "button_green", "button_blue", "shelf_inside", "block")

ENVIRONMENT_STATE_NAMES: tuple[str, ...] = (
    *(f"{joint}.pos" for joint in FURNITURE_JOINTS),
    *(f"{point}.{axis}_from_tcp" for point in _POINTS for axis in "xyz"),
    *(f"block.axis_{axis}" for axis in "xyz"),
    *(f"{part}.{function}_yaw" for part in ("desk", "shelf") for function in ("cos", "sin")),
)
"""Elements of `observation.environment_state`, all in the base frame; points relative to the tool centre point [m]."""

ENVIRONMENT_STATE_UNITS: tuple[str, ...] = ("m",) * (5 + 3 * len(_POINTS)) + ("1",) * 7


def environment_state_stream(rate: float) -> Stream:
    """The contract's stream of the simulation-only object state."""
    return Stream(
        topic="environment_state",
        type="std_msgs/msg/Float32MultiArray",
        dtype="float32",
        shape=(len(ENVIRONMENT_STATE_NAMES),),
        rate=rate,
        max_age=1.0 / rate,
        names=ENVIRONMENT_STATE_NAMES,
        units=ENVIRONMENT_STATE_UNITS,
        simulation_only=True,
    )


def observed_contract(contract: Contract, cameras: Sequence[str], height: int, width: int) -> Contract:
    """The robot's contract as a playroom environment serves it: these cameras at this size, and the object state.

    Raises:
        ContractError: a camera is not in the contract; the message lists those that are.
    """
    keys = [STATE, *(IMAGE_PREFIX + camera for camera in cameras)]
    served = contract.select(keys).with_image_size(height, width)
    return served.with_stream(ENVIRONMENT_STATE, environment_state_stream(contract.rate))


def proprioception(room: Playroom) -> np.ndarray:
    """`observation.state` `(2 J + 6,)` float32: joints, velocities, gripper, tcp position, cos and sin of its yaw."""
    yaw = room.tcp_yaw
    return np.concatenate(
        (room.joints, room.joint_velocities, [room.gripper], room.tcp, [np.cos(yaw), np.sin(yaw)]), dtype=np.float32
    )


def environment_state(room: Playroom) -> np.ndarray:
    """`observation.environment_state` `(33,)` float32, in the order of `ENVIRONMENT_STATE_NAMES`."""
    points = np.stack([*(room.site(name) for name in _POINTS[:-1]), room.block]) - room.tcp
    yaws = [function(room.pose(part)[1]) for part in ("desk", "shelf") for function in (np.cos, np.sin)]
    joints = [room.joint(name) for name in FURNITURE_JOINTS]
    return np.concatenate((joints, points.ravel(), room.block_axis, yaws), dtype=np.float32)


def pictures(room: Playroom, camera: Camera, names: Sequence[str]) -> Mapping[str, np.ndarray]:
    """`observation.images.<name>` `(H, W, 3)` uint8 for each camera name."""
    return {IMAGE_PREFIX + name: camera.render(room.data, name) for name in names}
