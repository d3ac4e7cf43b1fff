"""The playroom with a robot in it: two separate MJCF parts joined with MjSpec."""

from __future__ import annotations

from pathlib import Path

import mujoco
import numpy as np

from robot_learning import paths
from robot_learning.contract import Contract
from robot_learning.control.robot_model import robot_spec
from robot_learning.errors import UserError

ROBOT_PREFIX = "robot/"  # of every name of the robot within the scene
WRIST_CAMERA = ROBOT_PREFIX + "wrist"
ROBOT_BIT, BLOCK_BIT, FIXED_BIT, MOVING_BIT = 1, 2, 4, 8
PRETTY_GROUP, FAST_GROUP = 2, 3  # geom groups of the robot: visual meshes, collision shapes
WRIST_CAMERA_OFFSET = (0.100, 0.0, -0.100)  # of the wrist camera in the tool frame [m]
WRIST_CAMERA_TILT = 0.30  # towards the fingertips [rad]


class SceneError(UserError, ValueError):
    """The scene's MJCF is missing or lacks a part."""


def playroom_spec(contract: Contract, scene: Path | None = None) -> mujoco.MjSpec:
    """The playroom of `sim/playroom/playroom.xml` with the contract's robot standing on the site `robot_base`.

    Raises:
        SceneError: the scene file is missing, is not MJCF or has no site `robot_base`.
    """
    file = scene or paths.sim("playroom", "playroom.xml")
    if not file.is_file():
        raise SceneError(f"the scene {file} is missing; install the package again (pip install .)")
    try:
        spec = mujoco.MjSpec.from_file(str(file))
    except ValueError as error:
        raise SceneError(f"{file} is not a scene MuJoCo can read: {error}") from error
    base = next((site for site in spec.sites if site.name == "robot_base"), None)
    if base is None:
        raise SceneError(
            f"{file} has no site 'robot_base' to stand the robot on; sites: {[s.name for s in spec.sites]}"
        )
    robot = robot_spec(contract)
    _set_up_robot(robot, contract)
    spec.attach(robot, site=base, prefix=ROBOT_PREFIX)
    return spec


def _set_up_robot(robot: mujoco.MjSpec, contract: Contract) -> None:
    """Let the robot collide with the room only, and mount the wrist camera."""
    assert contract.simulation is not None
    for geom in robot.geoms:
        if geom.contype or geom.conaffinity:
            geom.contype, geom.conaffinity = ROBOT_BIT, BLOCK_BIT | FIXED_BIT | MOVING_BIT
    tcp = next(site for site in robot.sites if site.name == contract.simulation.tcp_site)
    position, rotation = _mounted_on(tcp)
    tcp.parent.add_camera(name="wrist", pos=position, quat=rotation, fovy=75.0)


def _mounted_on(tcp: mujoco.MjsSite) -> tuple[np.ndarray, np.ndarray]:
    """Pose of the wrist camera in the body that carries the tcp site, as position [m] and MuJoCo quaternion (wxyz)."""
    flat = np.zeros(9)
    mujoco.mju_quat2Mat(flat, np.asarray(tcp.quat))
    site_rotation = flat.reshape(3, 3)
    # A camera looks along its -z with +y up: start from "looking along the tool's z", then lean towards the fingertips.
    s, c = np.sin(WRIST_CAMERA_TILT), np.cos(WRIST_CAMERA_TILT)
    z_axis = -np.array([-s, 0.0, c])
    x_axis = np.array([0.0, 1.0, 0.0])
    camera_in_tool = np.stack([x_axis, np.cross(z_axis, x_axis), z_axis], axis=1)
    quaternion = np.zeros(4)
    mujoco.mju_mat2Quat(quaternion, (site_rotation @ camera_in_tool).ravel())
    return np.asarray(tcp.pos) + site_rotation @ np.asarray(WRIST_CAMERA_OFFSET), quaternion
