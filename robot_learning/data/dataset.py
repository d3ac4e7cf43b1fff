"""Dataset: random access to the frames, windows and episodes of a LeRobot v3 dataset on disk."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from robot_learning.contract import Contract
from robot_learning.data import tables
from robot_learning.data.cache import Cache, open_cache
from robot_learning.data.decoder import VideoReader
from robot_learning.data.episode import Episode, Segment
from robot_learning.data.files import DamagedDatasetError, DatasetError
from robot_learning.data.metadata import STATS_PATH, Metadata, load_stats, merged_stats
from robot_learning.data.schema import INDEX_KEYS, TIMESTAMP, Feature
from robot_learning.data.statistics import Statistics

BOOKKEEPING = (TIMESTAMP, *INDEX_KEYS)


class Dataset:
    """A dataset of ours, or any LeRobot v3 dataset whose cameras are video.

    Columns are read into memory when first asked for. Images are decoded on demand, or served from a cache: `cache="ram"`
    keeps every image in memory once decoded (27 kB for 96x96); `cache=<folder>` decodes each camera once into a file there,
    which later runs and other processes map. Episodes committed after opening are not seen.

    Raises:
        DatasetError: there is no dataset at `root`, or it has another format version.
        DamagedDatasetError: a file is missing or damaged (here, or later where it is first read).
    """

    def __init__(self, root: str | Path, cache: str | Path | None = None, max_open: int = 128) -> None:
        self.root = Path(root)
        self._meta = Metadata.load(self.root)
        self._columns: dict[str, np.ndarray] = {}
        self._reader = VideoReader(self.root, max_open)
        self._cache: dict[str, Cache] = {}
        self._cache_kind = cache
        self._shifts: dict[str, list[tuple[Path, int]]] = {}
        rows = self._meta.episodes
        bounds = [(row["dataset_from_index"], row["dataset_to_index"]) for row in rows]
        self.episode_ranges = np.array(bounds, dtype=np.int64).reshape(-1, 2)
        self._ends: list[int] = self.episode_ranges[:, 1].tolist()
        self.contract: Contract | None = self._meta.contract
        known = tables.read_tasks(self.root) if rows else []
        self.tasks: list[str] = known[: int(self._meta.info.get("total_tasks", len(known)))]

    # ---- what is in it

    @property
    def fps(self) -> int:
        """Frames a second [Hz]."""
        return self._meta.fps

    @property
    def features(self) -> dict[str, Feature]:
        """Every column and video, with shape, names and units."""
        return self._meta.features

    @property
    def info(self) -> dict[str, Any]:
        """`meta/info.json` as it stands."""
        return self._meta.info

    @property
    def recording_info(self) -> dict[str, Any]:
        """`meta/robot_learning.json`: package version, video settings and the recorder's configuration; empty if foreign."""
        return dict(self._meta.ours or {})

    @property
    def image_keys(self) -> list[str]:
        """The camera features."""
        return [key for key, feature in self.features.items() if feature.is_image]

    @property
    def num_episodes(self) -> int:
        """Committed episodes."""
        return len(self.episode_ranges)

    @property
    def num_frames(self) -> int:
        """Frames of all episodes."""
        return self._ends[-1] if self._ends else 0

    def __len__(self) -> int:
        return self.num_frames

    @property
    def episode_success(self) -> np.ndarray:
        """`(E,)` bool; for datasets without the label, whether `next.success` was ever true, else False."""
        rows = self._meta.episodes
        if rows and "success" not in rows[0] and "next.success" in self.features:
            flags = self.column("next.success").reshape(-1)
            return np.array([flags[a:b].any() for a, b in self.episode_ranges], dtype=bool)
        return np.array([bool(row.get("success", False)) for row in rows], dtype=bool)

    @property
    def episode_tasks(self) -> list[str]:
        """The task of each episode (its first, when a foreign dataset has several)."""
        return [row["tasks"][0] if row["tasks"] else "" for row in self._meta.episodes]

    def episode_info(self, episode: int) -> dict[str, Any]:
        """What was passed as `info` when the episode was saved."""
        text = self._meta.episodes[episode].get("info")
        info: dict[str, Any] = json.loads(text) if text else {}
        return info

    @property
    def stats(self) -> dict[str, Statistics]:
        """Statistics of each feature over the whole dataset; images per channel in [0, 1].

        Raises:
            DamagedDatasetError: neither `meta/stats.json` nor the episode rows have them.
        """
        if (self.root / STATS_PATH).exists():
            stats = {key: entry for key, entry in load_stats(self.root).items() if key in self.features}
            if "index" not in stats or stats["index"].count == self.num_frames:
                return stats
        # a writer may have added episodes meanwhile
        stats = merged_stats(Metadata.load(self.root, with_stats=True).episodes[: self.num_episodes])
        if not stats and self.num_frames:
            raise DamagedDatasetError(
                self.root / STATS_PATH, "statistics", "none in it nor in meta/episodes", self.root
            )
        return stats

    # ---- reading

    def column(self, key: str) -> np.ndarray:
        """A feature that is not an image, all frames: `(N, *shape)`; the five bookkeeping columns as `(N,)`. Read-only.

        Raises:
            DatasetError: no such feature, or it is an image.
            DamagedDatasetError: a data file is missing, truncated or of the wrong length.
        """
        self._require([key])
        if self.features[key].is_image:
            raise DatasetError(f"column: {key!r} is an image feature; read it with images() or window()")
        if key not in self._columns:
            self._read_columns([key])
        return self._columns[key]

    def load_columns(self) -> None:
        """Read every column now, each file once; `column` then never touches the disk."""
        self._read_columns([key for key, feature in self.features.items() if not feature.is_image])

    def images(self, key: str, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """Frames `indices` (global, any order) of camera `key`, `(n, H, W, 3)` uint8.

        Raises:
            DatasetError: no such camera, or an index is outside the dataset.
            DamagedDatasetError: a video is missing, truncated or does not decode.
        """
        self._require([key])
        if not self.features[key].is_image:
            raise DatasetError(f"images: {key!r} is not an image feature; the cameras are {self.image_keys}")
        indices = self._check_indices(indices)
        if self._cache_kind is None:
            return self._decode(key, indices)
        if key not in self._cache:
            self._cache[key] = open_cache(self._cache_kind, self, key)
        return self._cache[key].read(indices)

    def window(
        self, index: int, offsets: Sequence[int] | np.ndarray, keys: Sequence[str] | None = None
    ) -> dict[str, np.ndarray]:
        """The frames at `index + offsets` of the same episode, `(len(offsets), ...)` by key, and `is_pad` `(len(offsets),)`.

        Offsets that leave the episode repeat its first or last frame and are marked in `is_pad`.
        """
        return {key: values[0] for key, values in self.windows([index], offsets, keys).items()}

    def windows(
        self,
        indices: Sequence[int] | np.ndarray,
        offsets: Sequence[int] | np.ndarray,
        keys: Sequence[str] | None = None,
    ) -> dict[str, np.ndarray]:
        """`window` for a batch: `(B, L, ...)` by key and `is_pad` `(B, L)`; `keys` defaults to every feature.

        Raises:
            DatasetError: an unknown key or an index outside the dataset.
        """
        keys = list(self.features) if keys is None else list(keys)
        self._require(keys)
        indices = self._check_indices(indices)
        wanted = indices[:, None] + np.asarray(offsets, dtype=np.int64)[None, :]
        bounds = self.episode_ranges[self.episode_of(indices)]
        inside = np.clip(wanted, bounds[:, :1], bounds[:, 1:] - 1)
        batch = {"is_pad": inside != wanted}
        for key in keys:
            if self.features[key].is_image:
                flat = self.images(key, inside.reshape(-1))
                batch[key] = flat.reshape(*inside.shape, *flat.shape[1:])
            else:
                batch[key] = self.column(key)[inside]
        return batch

    def __getitem__(self, index: int) -> dict[str, Any]:
        index = int(self._check_indices([index])[0])
        frame: dict[str, Any] = {}
        for key, feature in self.features.items():
            frame[key] = self.images(key, [index])[0] if feature.is_image else self.column(key)[index]
        frame["task"] = self.tasks[int(frame["task_index"])]
        for key in INDEX_KEYS:
            frame[key] = int(frame[key])
        frame[TIMESTAMP] = float(frame[TIMESTAMP])
        return frame

    def episode(self, episode: int) -> Episode:
        """One whole episode with its images decoded (`DatasetError` when there is no such episode)."""
        if not 0 <= episode < self.num_episodes:
            raise DatasetError(f"episode: expected 0 to {self.num_episodes - 1}, found {episode}")
        start, end = self.episode_ranges[episode]
        rows = np.arange(start, end)
        keys = [key for key in self.features if key not in BOOKKEEPING]
        frames = {k: self.images(k, rows) if self.features[k].is_image else self.column(k)[rows].copy() for k in keys}
        success = bool(self.episode_success[episode])
        return Episode(self.episode_tasks[episode], frames, success, self.episode_info(episode))

    @property
    def segments(self) -> list[Segment]:
        """The stretches of one task within each episode: one in a demonstration, many in play."""
        indices = self.column("task_index")
        solved = self.column("next.success").reshape(-1) if "next.success" in self.features else None
        found = []
        for episode, (first, last) in enumerate(self.episode_ranges.tolist()):
            cuts = [first, *(np.flatnonzero(np.diff(indices[first:last])) + first + 1).tolist(), last]
            for start, end in pairwise(cuts):
                whole = len(cuts) == 2 or solved is None
                success = bool(self.episode_success[episode]) if whole else bool(solved[start:end].any())  # type: ignore[index]
                found.append(Segment(episode, start, end, self.tasks[int(indices[start])], success))
        return found

    def episode_of(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """The episode each global frame index belongs to."""
        return np.searchsorted(self.episode_ranges[:, 1], np.asarray(indices), side="right")

    def video_position(self, key: str, episode: int) -> tuple[Path, int]:
        """The mp4 of an episode's camera and the number of the episode's first frame in it."""
        row = self._meta.episodes[episode]
        start = round(float(row[f"videos/{key}/from_timestamp"]) * self.fps)
        return self._meta.video_path(row, key), start

    def decode(self, key: str, indices: np.ndarray) -> np.ndarray:
        """Like `images`, always from the video files, past any cache."""
        return self._decode(key, self._check_indices(indices))

    # ---- inside

    def _require(self, keys: Sequence[str]) -> None:
        unknown = [key for key in keys if key not in self.features]
        if unknown:
            raise DatasetError(f"{self.root} has no feature {unknown}; it has {list(self.features)}")

    def _check_indices(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        checked = np.asarray(indices, dtype=np.int64)
        if checked.size == 1:  # a random read: the reductions below cost a tenth of its decoding
            inside = 0 <= checked.item() < len(self)
        else:
            inside = not checked.size or (checked.min() >= 0 and checked.max() < len(self))
        if not inside:
            raise DatasetError(
                f"frame index: expected 0 to {self.num_frames - 1}, found {checked.min()} to {checked.max()}"
            )
        return checked

    def _read_columns(self, keys: list[str]) -> None:
        lengths: dict[Path, int] = {}
        for row in self._meta.episodes:
            path = self._meta.data_path(row)
            lengths[path] = lengths.get(path, 0) + row["length"]
        parts: dict[str, list[np.ndarray]] = {key: [] for key in keys}
        for path, length in lengths.items():
            table = tables.read_table(path, self.root, keys)
            if table.num_rows != length:
                raise DamagedDatasetError(path, f"{length} frames", f"{table.num_rows}", self.root)
            for key in keys:
                parts[key].append(tables.column_to_numpy(table[key], self.features[key], path, self.root))
        for key in keys:
            feature = self.features[key]
            values = np.concatenate(parts[key]) if parts[key] else np.zeros((0, *feature.shape), feature.dtype)
            values = values.reshape(-1) if key in BOOKKEEPING else values
            values.flags.writeable = False
            self._columns[key] = values

    def _decode(self, key: str, indices: np.ndarray) -> np.ndarray:
        feature = self.features[key]
        if feature.dtype != "video":
            raise DatasetError(
                f"{key}: expected images stored as video, found dtype {feature.dtype!r} (PNG in parquet)"
            )
        out = np.empty((len(indices), *feature.shape), np.uint8)
        # Plain lists: for the few indices of a frame or a window they are faster than arrays.
        places: dict[int, tuple[list[int], list[int]]] = {}
        for row, index in enumerate(indices.tolist()):
            rows, members = places.setdefault(bisect_right(self._ends, index), ([], []))
            rows.append(row)
            members.append(index)
        for episode, (rows, members) in places.items():
            path, shift = self._video_shift(key, episode)
            self._reader.frames(path, [index + shift for index in members], out, rows)
        return out

    def _video_shift(self, key: str, episode: int) -> tuple[Path, int]:
        """The mp4 of an episode's camera and what to add to a global frame index to get the frame's number in it."""
        if key not in self._shifts:
            positions = (self.video_position(key, e) for e in range(self.num_episodes))
            starts = self.episode_ranges[:, 0].tolist()
            self._shifts[key] = [(path, first - start) for (path, first), start in zip(positions, starts, strict=True)]
        return self._shifts[key][episode]
