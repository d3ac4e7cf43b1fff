"""Camera calibrations as the ROS package camera_calibration writes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from sensor_msgs.msg import CameraInfo

from robot_learning.errors import UserError

MATRICES = {"k": ("camera_matrix", 9), "r": ("rectification_matrix", 9), "p": ("projection_matrix", 12)}


class CalibrationError(UserError, ValueError):
    """A calibration file is missing or not one."""


def load_calibration(path: Path) -> CameraInfo:
    """The intrinsics in a YAML file of camera_calibration.

    Raises:
        CalibrationError: names the file, the key, what was expected and what was found.
    """
    if not path.is_file():
        raise CalibrationError(f"there is no calibration file {path}; calibrate with `ros2 run camera_calibration ...`")
    try:
        data = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise CalibrationError(f"{path} is not valid YAML: {error}") from error
    if not isinstance(data, dict):
        raise CalibrationError(
            f"{path}: expected the mapping that camera_calibration writes, found {type(data).__name__}"
        )
    info = CameraInfo(height=_size(data, "image_height", path), width=_size(data, "image_width", path))
    info.distortion_model = str(data.get("distortion_model", "plumb_bob"))
    info.d = _numbers(data, "distortion_coefficients", path)
    for field, (key, count) in MATRICES.items():
        values = _numbers(data, key, path)
        if len(values) != count:
            raise CalibrationError(f"{path}: {key}: expected {count} numbers, found {len(values)}")
        setattr(info, field, values)
    return info


def _size(data: dict[str, Any], key: str, path: Path) -> int:
    value = data.get(key)
    if not isinstance(value, int) or value <= 0:
        raise CalibrationError(f"{path}: {key}: expected a number of pixels, found {value!r}")
    return value


def _numbers(data: dict[str, Any], key: str, path: Path) -> list[float]:
    part = data.get(key)
    values = part.get("data") if isinstance(part, dict) else None
    if not isinstance(values, list) or not all(isinstance(v, (int, float)) for v in values):
        raise CalibrationError(f"{path}: {key}: expected a mapping with `data`, a list of numbers, found {part!r}")
    return [float(value) for value in values]
