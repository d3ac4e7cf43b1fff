"""Decoded images kept between reads: in memory, or in a file that other processes and later runs map."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from rich.progress import track

from robot_learning.data.files import DatasetError, DatasetWriteError, fsync_directory

if TYPE_CHECKING:
    from robot_learning.data.dataset import Dataset

BATCH = 256


class Cache(Protocol):
    """Decoded images of one camera."""

    def read(self, indices: np.ndarray) -> np.ndarray:
        """Images `(n, H, W, 3)` uint8."""
        ...


class RamCache:
    """Images in memory, each decoded when first read."""

    def __init__(self, dataset: Dataset, key: str) -> None:
        self._dataset, self._key = dataset, key
        self._images = np.empty((dataset.num_frames, *dataset.features[key].shape), np.uint8)
        self._known = np.zeros(dataset.num_frames, bool)

    def read(self, indices: np.ndarray) -> np.ndarray:
        """Images `(n, H, W, 3)` uint8, from memory where they have been read before."""
        missing = np.unique(indices[~self._known[indices]])
        if len(missing):
            self._images[missing] = self._dataset.decode(self._key, missing)
            self._known[missing] = True
        images: np.ndarray = self._images[indices]
        return images


class FileCache:
    """Images in one file `(N, H, W, 3)` uint8 without a header, mapped read-only."""

    def __init__(self, dataset: Dataset, key: str, folder: Path) -> None:
        self._shape = (dataset.num_frames, *dataset.features[key].shape)
        self._path = folder / f"{key}-{fingerprint(dataset, key)}.uint8"
        if not self._path.exists():
            self._build(dataset, key)
        self._images = np.memmap(self._path, np.uint8, "r", shape=self._shape)

    def read(self, indices: np.ndarray) -> np.ndarray:
        """Images `(n, H, W, 3)` uint8."""
        return np.asarray(self._images[indices])

    def __getstate__(self) -> dict[str, object]:
        # Without this, pickling for a worker process would copy every image.
        return {"_shape": self._shape, "_path": self._path}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self._images = np.memmap(self._path, np.uint8, "r", shape=self._shape)

    def _build(self, dataset: Dataset, key: str) -> None:
        temporary = self._path.with_name(f".{self._path.name}.{os.getpid()}.tmp")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with open(temporary, "wb") as file:
                for start in track(range(0, dataset.num_frames, BATCH), f"decoding {key}", transient=True):
                    indices = np.arange(start, min(start + BATCH, dataset.num_frames))
                    file.write(dataset.decode(key, indices).tobytes())
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, self._path)
            fsync_directory(self._path.parent)
        except OSError as error:
            raise DatasetWriteError(
                f"{self._path}: expected room for {np.prod(self._shape) / 1e6:.0f} MB of decoded images, found {error}; "
                f"free some space, choose another cache folder, or read without a cache"
            ) from error
        finally:
            temporary.unlink(missing_ok=True)


def fingerprint(dataset: Dataset, key: str) -> str:
    """Changes whenever a video of camera `key` does: from the names, sizes and times of its files."""
    digest = hashlib.sha256(f"{dataset.root.resolve()} {key}".encode())
    for episode in range(dataset.num_episodes):
        path, first = dataset.video_position(key, episode)
        status = path.stat() if path.exists() else None
        digest.update(f"{path} {first} {status and (status.st_size, status.st_mtime_ns)}".encode())
    return digest.hexdigest()[:16]


def open_cache(kind: str | Path, dataset: Dataset, key: str) -> Cache:
    """The cache of camera `key`: `kind` is "ram" or a folder (`DatasetError` for an empty name)."""
    if kind == "ram":
        return RamCache(dataset, key)
    if not str(kind):
        raise DatasetError("cache: expected 'ram' or a folder, found an empty name")
    return FileCache(dataset, key, Path(kind))
