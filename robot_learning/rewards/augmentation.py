"""Pictures as another camera, lamp or day would have shown them. Labels stay, so nothing here may hide what was asked about.

Two kinds of copies are made once for every frame: `recoloured`, with a random crop, and `moved`, as seen after the camera was
pushed and turned: the homography that a plane at a random height above the desk induces (Hartley & Zisserman 2004, 13.1). Both
change light and colours, and may show a stray object.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np


@dataclass(frozen=True)
class AugmentationConfig:
    """How far pictures are changed."""

    copies: int = 1
    """Copies of each kind for every frame; 0 for none."""
    crop: float = 0.06
    """Largest shift and change of scale, as a share of the picture."""
    camera_shift: float = 0.07
    """Largest push of the camera along each axis [m]."""
    camera_turn: float = 7.0
    """Largest turn of the camera about each axis [degree]."""
    field_of_view: float = 43.0
    """Vertical field of view of the fixed camera [degree]."""
    camera_height: float = 0.62
    """Height of the fixed camera above the desk [m]."""
    camera_pitch: float = 37.0
    """How far the fixed camera looks down [degree]."""
    plane_height: float = 0.2
    """The plane that stays true lies between the desk top and this height [m]."""
    moving_cameras: tuple[str, ...] = ("wrist",)
    """Cameras on the robot: they move anyway, and are only recoloured."""
    brightness: float = 0.35
    """Largest change of the light, as a share."""
    tint: float = 0.1
    """Largest change of each colour channel, as a share."""
    noise: float = 4.0
    """Largest standard deviation of the pixel noise [of 255]."""
    stray: float = 0.3
    """How often a stray object is drawn in."""


def recoloured(image: np.ndarray, rng: np.random.Generator, config: AugmentationConfig) -> np.ndarray:
    """An image `(H, W, 3)` uint8, cropped at random and under other light."""
    height, width = image.shape[:2]
    scale = 1 + rng.uniform(-config.crop, config.crop)
    shift = rng.uniform(-config.crop, config.crop, 2) * (width, height)
    centre = np.array([width, height]) / 2
    matrix = np.array([[scale, 0, 0], [0, scale, 0]], np.float64)
    matrix[:, 2] = centre - scale * centre + shift
    warped = cv2.warpAffine(_with_stray(image, rng, config), matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)
    return relit(warped, rng, config)


def moved(image: np.ndarray, rng: np.random.Generator, config: AugmentationConfig) -> np.ndarray:
    """An image `(H, W, 3)` uint8 of the fixed camera, as if it stood a little elsewhere, under other light."""
    height, width = image.shape[:2]
    homography = camera_homography(
        rng.uniform(-1, 1, 3) * np.deg2rad(config.camera_turn),
        rng.uniform(-1, 1, 3) * config.camera_shift,
        (height, width),
        config,
        rng.uniform(0.0, config.plane_height),
    )
    warped = cv2.warpPerspective(
        _with_stray(image, rng, config), homography, (width, height), borderMode=cv2.BORDER_REPLICATE
    )
    return relit(warped, rng, config)


def camera_homography(
    turn: np.ndarray, shift: np.ndarray, size: tuple[int, int], config: AugmentationConfig, plane: float = 0.0
) -> np.ndarray:
    """The matrix `(3, 3)` from pixels of the camera to pixels of the camera turned and shifted.

    Args:
        turn: rotation vector of the camera `(3,)` [rad]; shift: of its centre `(3,)` [m]; both in the camera's axes
            (x right, y down, z forward).
        size: height and width of the picture [pixel]. plane: height of the horizontal plane that is mapped truly [m].
    """
    height, width = size
    focal = height / 2 / np.tan(np.deg2rad(config.field_of_view) / 2)
    intrinsics = np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]])
    pitch = np.deg2rad(config.camera_pitch)
    down = np.array([0.0, np.cos(pitch), np.sin(pitch)])  # towards the plane
    distance = max(config.camera_height - plane, 0.1)
    rotation = cv2.Rodrigues(turn.astype(np.float64))[0].T  # points turn against the camera
    motion = rotation @ (np.eye(3) - np.outer(shift, down) / distance)
    return np.asarray(intrinsics @ motion @ np.linalg.inv(intrinsics))


def relit(image: np.ndarray, rng: np.random.Generator, config: AugmentationConfig) -> np.ndarray:
    """Other brightness, tint, contrast and noise, and light from a side."""
    height, width = image.shape[:2]
    across = np.linspace(-1, 1, width, dtype=np.float32)[None, :] * rng.uniform(-1, 1)
    down = np.linspace(-1, 1, height, dtype=np.float32)[:, None] * rng.uniform(-1, 1)
    side = 1 + 0.5 * config.brightness * (across + down).astype(np.float32)
    gain = (1 + rng.uniform(-config.brightness, config.brightness)) * (1 + rng.uniform(-config.tint, config.tint, 3))
    gamma = np.exp(rng.uniform(-config.brightness, config.brightness))
    curve = (np.linspace(0, 1, 256) ** gamma * 255).astype(np.float32)
    out = curve[image] * side[:, :, None] * gain.astype(np.float32)
    sigma = rng.uniform(0, config.noise)
    if sigma:
        out += rng.standard_normal(image.shape, dtype=np.float32) * np.float32(sigma)
    return np.clip(out, 0, 255).astype(np.uint8)


def _with_stray(image: np.ndarray, rng: np.random.Generator, config: AugmentationConfig) -> np.ndarray:
    """Now and then, a small shape in a random colour, or in one from the picture itself: not all that is orange is the block."""
    if rng.random() >= config.stray:
        return image
    height, width = image.shape[:2]
    drawn = image.copy()
    centre = rng.uniform((0, 0), (width, height))
    row, column = rng.integers((height, width))
    own = image[row, column] if rng.random() < 0.5 else rng.integers(0, 256, 3)
    colour = tuple(int(c) for c in own)
    axes = rng.uniform(0.015, 0.05, 2) * width
    angle = float(rng.uniform(0, 180))
    place = (int(centre[0]), int(centre[1]))
    if rng.random() < 0.5:
        cv2.ellipse(drawn, place, (int(axes[0]) + 1, int(axes[1]) + 1), angle, 0, 360, colour, -1)
    else:
        box = cv2.boxPoints(((float(centre[0]), float(centre[1])), (2 * float(axes[0]), 2 * float(axes[1])), angle))
        cv2.fillConvexPoly(drawn, box.astype(np.int32), colour)
    return drawn
