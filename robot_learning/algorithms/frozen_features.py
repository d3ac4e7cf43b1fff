"""Maps of a frozen image network, computed once for a few augmented views of each frame and kept.

A training then costs what its small trained part costs. Views are fixed by the seed and the frame's place in its episode, and
computed episode by episode, so that data that has only grown keeps the views it had, and a run that was interrupted finds
the same again.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from robot_learning.algorithms.demonstrations import Demonstrations
from robot_learning.algorithms.input_selection import Told, unheard
from robot_learning.networks.augmentation import colour_jitter, random_crop, to_float

BLOCK = 32  # pictures at a time: more do not stay in the cache


class FrozenFeatures:
    """Views of every frame of demonstrations; one of each frame of prior data, of which there is much.

    Args:
        views: augmented views of each frame; size: `(height, width)` of the random crop [pixels]; jitter: as in `colour_jitter`.
    """

    def __init__(self, views: int, size: tuple[int, int], jitter: float, seed: int) -> None:
        self.views, self.size, self.jitter, self.seed = views, size, jitter, seed
        # of each episode: where it ends, whether it is prior data, and a checksum of its first picture from each camera
        self._episodes: list[tuple[int, ...]] = []
        self._maps: dict[str, Tensor] = {}  # of each camera: (views of all frames, C, h, w), half precision
        self._first = self._count = np.zeros(0, int)  # of each frame: where its views begin, how many there are

    def extend(self, data: Demonstrations, network: Callable[[Tensor], Tensor], told: Told = unheard) -> None:
        """Add the episodes of `data` that come after those already known; other data starts anew.

        Args:
            network: maps `(B, C, h, w)` of pictures `(B, 3, H, W)` in [-1, 1].
        """
        ends = np.unique(data.ends).tolist()
        starts = [0, *ends[:-1]]
        episodes = [
            (end, int(end <= data.prior), *(zlib.crc32(frames[start].tobytes()) for frames in data.images.values()))
            for start, end in zip(starts, ends, strict=True)
        ]
        if episodes[: len(self._episodes)] != self._episodes or set(self._maps) != set(data.images):
            self._episodes, self._maps = [], {}
        self._count = np.where(np.arange(ends[-1]) < data.prior, 1, self.views)
        self._first = np.cumsum(self._count) - self._count
        known = self._episodes[-1][0] if self._episodes else 0
        done, total = 0, len(data.images) * (ends[-1] - known)
        for camera, (key, frames) in enumerate(data.images.items()):
            parts = [self._maps[key]] if key in self._maps else []
            for episode in range(len(self._episodes), len(ends)):
                rows = np.arange(starts[episode], ends[episode])
                rng = np.random.default_rng((self.seed, 2, episode, camera))
                views = [self._view(frames, rows, network, rng) for _ in range(self._count[rows[0]])]
                parts.append(torch.stack(views, dim=1).flatten(0, 1))
                done += len(rows)
                told("look at pictures", "pictures", done, total)
            self._maps[key] = torch.cat(parts)
        self._episodes = episodes

    def _view(
        self, frames: np.ndarray, rows: np.ndarray, network: Callable[[Tensor], Tensor], rng: np.random.Generator
    ) -> Tensor:
        maps = []
        for start in range(0, len(rows), BLOCK):
            pictures = to_float(random_crop(frames, rows[start : start + BLOCK], self.size, rng))
            maps.append(network(colour_jitter(pictures, self.jitter, rng)).half())
        return torch.cat(maps)

    def __call__(self, key: str, rows: np.ndarray, rng: np.random.Generator) -> Tensor:
        """Maps `(B, C, h, w)` of one view, drawn for each, of the frames `rows`."""
        view = rng.integers(self._count[rows])
        picked = self._maps[key][torch.from_numpy(self._first[rows] + view)]
        return picked.float().contiguous(memory_format=torch.channels_last)
