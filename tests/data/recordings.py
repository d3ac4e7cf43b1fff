"""Contracts, images and episodes that the data tests record."""

from __future__ import annotations

import numpy as np

from robot_learning.contract import Contract
from robot_learning.data import Episode

SIZE = 32


def make_contract(size: int = SIZE) -> Contract:
    """The shipped contract with small cameras."""
    return Contract.load("ur5e_2f85").with_image_size(size, size)


def make_image(seed: int, t: int, size: int = SIZE) -> np.ndarray:
    """A smooth picture with a square that moves with `t`, `(size, size, 3)` uint8."""
    ramp = np.linspace(40, 200, size)
    image = np.stack([ramp[None].repeat(size, 0), ramp[:, None].repeat(size, 1), np.full((size, size), 90.0)], axis=-1)
    x = (3 * t + 5 * seed) % (size - 8)
    image[8:16, x : x + 8] = 230
    return image.astype(np.uint8)


def make_episode(
    contract: Contract, length: int = 8, seed: int = 0, task: str = "open the drawer", success: bool = True
) -> Episode:
    """An episode that fits `contract`, different for each seed."""
    rng = np.random.default_rng(seed)
    frames: dict[str, np.ndarray] = {}
    for number, (key, stream) in enumerate(contract.observation.items()):
        if key in contract.images:
            frames[key] = np.stack([make_image(seed + number, t, stream.shape[0]) for t in range(length)])
        else:
            frames[key] = rng.normal(size=(length, *stream.shape)).astype(stream.dtype)
    frames["action"] = rng.uniform(-1, 1, (length, len(contract.action.names))).astype(np.float32)
    last = np.arange(length)[:, None] == length - 1
    frames["next.reward"] = (last & success).astype(np.float32)
    frames["next.done"] = last.copy()
    frames["next.success"] = last & success
    return Episode(task, frames, success, {"seed": seed})
