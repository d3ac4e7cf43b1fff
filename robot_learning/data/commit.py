"""Committing one episode to a dataset on disk so that no crash loses it or shows a part of it.

The order (every file is fsynced before its rename, every folder after it):
 1. while recording, videos go to `.recording/`; columns stay in memory;
 2. one mp4 per camera and one data file move to their numbered places, and new tasks are added;
 3. the file with the episode rows is replaced: the episode now exists for a writer that opens the dataset;
 4. `meta/info.json` is replaced: the episode exists for readers; then `meta/stats.json`.
A process killed before 3 leaves files no row names: the next writer removes them. Killed between 3 and 4: the next writer
finishes the commit. Readers go by `meta/info.json` and never look at leftovers.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from robot_learning.data import tables
from robot_learning.data.decoder import VideoIndex
from robot_learning.data.files import DamagedDatasetError, DatasetWriteError, fsync_directory
from robot_learning.data.metadata import Metadata, add_stats, episode_files, merged_stats, save_stats
from robot_learning.data.schema import CHUNKS_SIZE, EPISODES_PATH, INDEX_KEYS, TIMESTAMP
from robot_learning.data.statistics import Statistics

ROWS_PER_FILE = 100


@dataclass
class StagedEpisode:
    """An episode ready to be committed.

    `tasks` is the instruction of each frame, `columns` are `(T, ...)` without the bookkeeping columns, `videos` finished
    mp4 files in `.recording/` by camera, `image_stats` their statistics, `info` JSON text.
    """

    tasks: list[str]
    columns: dict[str, np.ndarray]
    videos: dict[str, Path]
    image_stats: dict[str, Statistics]
    success: bool
    info: str

    @property
    def length(self) -> int:
        """Frames."""
        return len(next(iter(self.columns.values())))


class EpisodeStore:
    """The committed episodes of a dataset that is open for writing; the caller holds the writer lock."""

    def __init__(self, meta: Metadata) -> None:
        self.meta = meta
        self.root = meta.root
        self.readable = len(meta.episodes)  # episodes that a reader of the folder sees
        self._stats = merged_stats(meta.episodes)
        self.tasks = tables.read_tasks(self.root) if meta.episodes else []
        files = [row["data/chunk_index"] * CHUNKS_SIZE + row["data/file_index"] for row in meta.episodes]
        self._next_file = max(files, default=-1) + 1
        self._last_rows = _last_rows(self.root, len(meta.episodes))

    @property
    def num_episodes(self) -> int:
        """Committed episodes."""
        return len(self.meta.episodes)

    @property
    def num_frames(self) -> int:
        """Committed frames."""
        return int(self.meta.episodes[-1]["dataset_to_index"]) if self.meta.episodes else 0

    def commit(self, episode: StagedEpisode) -> int:
        """Make `episode` part of the dataset and return its index; when this returns, no crash can lose it.

        Raises:
            OSError: the disk refused; the episode is not in the dataset.
            DatasetWriteError: the disk refused only the last step; the next commit or the next writer finishes it.
        """
        index, placed = self.num_episodes, list[Path]()
        try:
            row = self._row(episode)
            self._place(episode, row, placed)
        except BaseException:
            for path in placed:
                path.unlink(missing_ok=True)
            raise
        # If this fails the placed files stay: the row may have reached the disk. The next commit overwrites them.
        self._add_row(row)
        self._next_file += 1
        add_stats(self._stats, row)  # whatever the disk says: the next commit saves them
        try:
            self.meta.save_info(len(self.tasks))
            save_stats(self.root, self._stats, self.meta.features)
        except OSError as error:
            raise DatasetWriteError(
                f"{self.root}: episode {index} is on the disk, but its metadata could not be finished ({error}). "
                f"Free some space; saving another episode, or opening the dataset for writing, adds it."
            ) from error
        self.readable = index + 1
        return index

    def _row(self, episode: StagedEpisode) -> dict[str, Any]:
        """The episode's row, and its bookkeeping columns added to `episode.columns`."""
        index, start, length, fps = self.num_episodes, self.num_frames, episode.length, self.meta.fps
        names = self._with_tasks(episode)
        task_index = np.array([names.index(task) for task in episode.tasks], np.int64)
        episode.columns |= bookkeeping(index, start, length, task_index, fps)
        return episode_row(
            self.meta, self._next_file, index, start, _unique(episode.tasks), episode.columns, episode.image_stats,
            episode.success, episode.info,
        )  # fmt: skip

    def _place(self, episode: StagedEpisode, row: Mapping[str, Any], placed: list[Path]) -> None:
        """Step 2; `placed` collects the paths, to be removed when a later step fails."""
        for path in episode.videos.values():
            try:
                written = len(VideoIndex(path, self.root))
            except DamagedDatasetError as error:
                raise OSError(str(error).splitlines()[0]) from error
            if written != episode.length:
                raise OSError(f"{path}: expected {episode.length} frames on the disk, found {written}")
        for key, path in episode.videos.items():
            target = self.meta.video_path(row, key)
            placed.append(target)
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(path, target)
            fsync_directory(target.parent)
        data = self.meta.data_path(row)
        placed.append(data)
        tables.write_table(data, tables.frames_table(episode.columns, self.meta.features))
        names = self._with_tasks(episode)
        if names != self.tasks:
            tables.write_tasks(self.root, names)

    def _with_tasks(self, episode: StagedEpisode) -> list[str]:
        """The dataset's tasks, and those the episode adds."""
        return _unique([*self.tasks, *episode.tasks])

    def _add_row(self, row: dict[str, Any]) -> None:
        """Step 3."""
        table = pa.Table.from_pylist([row])
        before = self._last_rows
        if before is not None and self.num_episodes % ROWS_PER_FILE:
            table = pa.concat_tables([before, table.select(before.column_names).cast(before.schema)])
        chunk, file = row["meta/episodes/chunk_index"], row["meta/episodes/file_index"]
        tables.write_table(self.root / EPISODES_PATH.format(chunk_index=chunk, file_index=file), table)
        self._last_rows = table
        self.meta.episodes.append({k: v for k, v in row.items() if not k.startswith("stats/")})
        self.tasks = _unique([*self.tasks, *row["tasks"]])


def _unique(tasks: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(tasks))


def episode_row(
    meta: Metadata,
    number: int,
    index: int,
    start: int,
    tasks: Sequence[str],
    columns: Mapping[str, np.ndarray],
    image_stats: Mapping[str, Statistics],
    success: bool,
    info: str,
) -> dict[str, Any]:
    """The row of an episode whose files have the running number `number`, with its statistics, as LeRobot names them."""
    length = len(columns["index"])
    chunk, file = divmod(number, CHUNKS_SIZE)
    row: dict[str, Any] = {
        "episode_index": index, "tasks": list(tasks), "length": length,
        "data/chunk_index": chunk, "data/file_index": file,
        "dataset_from_index": start, "dataset_to_index": start + length,
    }  # fmt: skip
    for key in meta.video_keys:
        row |= {f"videos/{key}/chunk_index": chunk, f"videos/{key}/file_index": file}
        row |= {f"videos/{key}/from_timestamp": 0.0, f"videos/{key}/to_timestamp": length / meta.fps}
    chunk, file = divmod(index // ROWS_PER_FILE, CHUNKS_SIZE)
    row |= {"meta/episodes/chunk_index": chunk, "meta/episodes/file_index": file}
    row |= {"success": bool(success), "info": info}
    stats = {key: entry.to_dict(image=True) for key, entry in image_stats.items()}
    for key, feature in meta.features.items():
        if not feature.is_image and feature.dtype != "string":
            stats[key] = Statistics.from_array(columns[key]).to_dict()
    return row | tables.flatten_stats(stats)


def bookkeeping(index: int, start: int, length: int, task_index: np.ndarray | int, fps: int) -> dict[str, np.ndarray]:
    """The five columns LeRobot adds to each episode: `timestamp` [s] and the running numbers, `(T,)` each."""
    frame = np.arange(length, dtype=np.int64)
    values = {
        "frame_index": frame,
        "episode_index": np.full(length, index, np.int64),
        "index": start + frame,
        "task_index": np.broadcast_to(np.asarray(task_index, np.int64), length).copy(),
    }
    return {TIMESTAMP: (frame / fps).astype(np.float32), **{key: values[key] for key in INDEX_KEYS}}


def _last_rows(root: Path, episodes: int) -> pa.Table | None:
    """The rows in the file that the next episode's row joins."""
    files = episode_files(root)
    if not files or not episodes % ROWS_PER_FILE:
        return None
    return tables.read_table(files[-1], root)
