"""Image augmentation on batches of uint8 pictures, drawn from a numpy generator so that a step can be replayed."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

UINT8_MEAN, UINT8_SCALE = 127.5, 127.5  # uint8 -> about [-1, 1]


def to_float(images: Tensor) -> Tensor:
    """uint8 `(B, H, W, 3)` -> float32 `(B, 3, H, W)` in [-1, 1], in channels-last memory without a copy of its own."""
    return images.permute(0, 3, 1, 2).float().sub_(UINT8_MEAN).div_(UINT8_SCALE)


def centre_crop(images: Tensor, size: tuple[int, int]) -> Tensor:
    """The middle `size = (height, width)` of images `(B, H, W, C)`."""
    top, left = (images.shape[1] - size[0]) // 2, (images.shape[2] - size[1]) // 2
    return images[:, top : top + size[0], left : left + size[1]]


def random_crop(images: np.ndarray, indices: np.ndarray, size: tuple[int, int], rng: np.random.Generator) -> Tensor:
    """Pick `images[indices]` of `(N, H, W, C)`, each cut at its own random place to `size`: `(B, height, width, C)`."""
    height, width = size
    tops = rng.integers(images.shape[1] - height + 1, size=len(indices))
    lefts = rng.integers(images.shape[2] - width + 1, size=len(indices))
    out = np.empty((len(indices), height, width, images.shape[3]), images.dtype)
    for row, (index, top, left) in enumerate(zip(indices, tops, lefts, strict=True)):
        out[row] = images[index, top : top + height, left : left + width]
    return torch.from_numpy(out)


def colour_jitter(images: Tensor, strength: float, rng: np.random.Generator) -> Tensor:
    """Scale and shift each picture's brightness and, half as much, each of its colour channels.

    `images` are float `(B, 3, H, W)` in [-1, 1]; `strength` 0.2 changes contrast by up to 20 % and brightness by 0.2.
    """
    n = len(images)
    gain = 1 + strength * (rng.uniform(-1, 1, (n, 1)) + 0.5 * rng.uniform(-1, 1, (n, 3)))
    bias = strength * (rng.uniform(-1, 1, (n, 1)) + 0.5 * rng.uniform(-1, 1, (n, 3)))
    as_map = [torch.from_numpy(x.astype(np.float32))[:, :, None, None] for x in (gain, bias)]
    return images * as_map[0] + as_map[1]
