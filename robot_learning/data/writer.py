"""DatasetWriter: records episodes into a LeRobot v3 dataset so that a crash loses at most the episode in progress.

How an episode is committed (every file is fsynced before its rename, every folder after it):
 1. while recording, videos go to `.recording/`; columns stay in memory;
 2. `save_episode` moves one data file and one mp4 per camera to their numbered places and adds new tasks;
 3. the file with the episode rows is replaced: the episode now exists for a writer that opens the dataset;
 4. `meta/info.json` is replaced: the episode exists for readers; then `meta/stats.json`.
A process killed before 3 leaves files no row names: the next writer removes them. Killed between 3 and 4: the next writer
finishes the commit. Readers go by `meta/info.json` and never look at leftovers.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa

from robot_learning.contract import Contract
from robot_learning.data import tables
from robot_learning.data.decoder import VideoIndex
from robot_learning.data.episode import Episode
from robot_learning.data.files import (
    DatasetError,
    DatasetWriteError,
    FrameError,
    WriterLock,
    fsync_directory,
    write_json,
)
from robot_learning.data.metadata import (
    INFO_PATH,
    OURS_PATH,
    Metadata,
    add_stats,
    episode_files,
    load_info,
    merged_stats,
    new_info,
    save_stats,
)
from robot_learning.data.recovery import recover
from robot_learning.data.schema import (
    CHUNKS_SIZE,
    EPISODES_PATH,
    TIMESTAMP,
    Feature,
    bookkeeping_features,
    check_frame,
    contract_features,
)
from robot_learning.data.statistics import MAX_SAMPLED_IMAGES, Statistics
from robot_learning.data.video import VideoConfig, VideoEncoder

RECORDING = ".recording"
ROWS_PER_FILE = 100


class DatasetWriter:
    """Appends episodes to a dataset on disk; see the module docstring for what survives a crash.

    Make one with `create`, `open` or `open_or_create`; close it, or use it as a context manager. An episode that is in
    progress when it closes is discarded. One writer per dataset at a time.
    """

    def __init__(self, meta: Metadata, contract: Contract, lock: WriterLock) -> None:
        self.root = meta.root
        self.contract = contract
        self._meta = meta
        self._lock = lock
        self._video = VideoConfig(**(meta.ours or {}).get("video", {}))
        own = bookkeeping_features()
        self._features = {key: feature for key, feature in meta.features.items() if key not in own}
        self._stats = merged_stats(meta.episodes)
        self._tasks = tables.read_tasks(self.root) if meta.episodes else []
        files = [row["data/chunk_index"] * CHUNKS_SIZE + row["data/file_index"] for row in meta.episodes]
        self._next_file = max(files, default=-1) + 1
        self._open_rows = _last_rows(self.root, len(meta.episodes))
        self._task: str | None = None
        self._length = 0
        self._begin()

    # ---- opening and closing

    @staticmethod
    def create(
        root: str | Path,
        contract: Contract,
        video: VideoConfig | None = None,
        robot_type: str | None = None,
        extra: Mapping[str, Feature] | None = None,
        config: Mapping[str, Any] | None = None,
    ) -> DatasetWriter:
        """A new dataset at `root` whose features are the streams of `contract`.

        Args:
            video: how cameras are encoded.
            robot_type: LeRobot's name of the robot; the contract's name when None.
            extra: further columns every frame will carry, e.g. `{"intervention": Feature("bool", (1,))}`.
            config: the caller's resolved configuration, kept in `meta/robot_learning.json`.

        Raises:
            DatasetError: something else is at `root`, or the rate is not a whole number of frames a second.
            DatasetLockedError: another process is creating it.
        """
        root = Path(root)
        if contract.rate != int(contract.rate):
            raise DatasetError(f"rate: expected whole frames a second (LeRobot v3), found {contract.rate} Hz")
        _refuse_occupied(root)
        root.mkdir(parents=True, exist_ok=True)
        lock = WriterLock(root)
        lock.acquire()
        try:
            _refuse_occupied(root)
            video = video or VideoConfig()
            write_json(root / OURS_PATH, _ours(contract, video, config))
            meta = Metadata(root, {}, _declared_features(contract, video, extra), _ours(contract, video, config), [])
            meta.info = new_info(meta.features, int(contract.rate), robot_type or contract.name)
            meta.save_info(tasks=0)
            return DatasetWriter(meta, contract, lock)
        except BaseException:
            lock.release()
            raise

    @staticmethod
    def open(root: str | Path, contract: Contract) -> DatasetWriter:
        """Go on with the dataset at `root`; first mends what a killed writer left.

        Raises:
            DatasetError: no dataset, or it was recorded under another contract, rate or image size (both sides are named).
            DamagedDatasetError: its metadata is damaged.
            DatasetLockedError: another process is writing to it.
        """
        root = Path(root)
        load_info(root)
        lock = WriterLock(root)
        lock.acquire()
        try:
            recover(root)
            meta = Metadata.load(root, with_stats=True)
            _require_same_contract(meta, contract)
            return DatasetWriter(meta, contract, lock)
        except BaseException:
            lock.release()
            raise

    @staticmethod
    def open_or_create(
        root: str | Path,
        contract: Contract,
        video: VideoConfig | None = None,
        robot_type: str | None = None,
        extra: Mapping[str, Feature] | None = None,
        config: Mapping[str, Any] | None = None,
    ) -> DatasetWriter:
        """`open` when there is a dataset at `root`, else `create`; raises what they raise."""
        if (Path(root) / INFO_PATH).exists():
            return DatasetWriter.open(root, contract)
        return DatasetWriter.create(root, contract, video, robot_type, extra, config)

    def close(self) -> None:
        """Discard an episode in progress and let other writers in."""
        self.discard_episode()
        self._lock.release()

    def __enter__(self) -> DatasetWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # ---- recording

    @property
    def num_episodes(self) -> int:
        """Committed episodes."""
        return len(self._meta.episodes)

    @property
    def num_frames(self) -> int:
        """Committed frames."""
        return int(self._meta.episodes[-1]["dataset_to_index"]) if self._meta.episodes else 0

    @property
    def episode_length(self) -> int:
        """Frames of the episode in progress."""
        return self._length

    def add_frame(self, frame: Mapping[str, Any], task: str) -> None:
        """Add one frame to the episode in progress.

        Raises:
            FrameError: a key is missing or unknown, a value has another shape or dtype or is not finite, or `task` changed
                within the episode; the frame is not added and the episode goes on.
            DatasetWriteError: the disk refused the video; the episode is discarded, the writer stays usable.
        """
        arrays = check_frame(frame, self._features)
        if not isinstance(task, str) or not task.strip():
            raise FrameError(f"task: expected an instruction in words, found {task!r}")
        if self._task not in (None, task):
            raise FrameError(f"task: expected {self._task!r} as in this episode's earlier frames, found {task!r}")
        try:
            if not self._encoders:
                self._start_videos()
            for key, encoder in self._encoders.items():
                encoder.write(arrays[key])
        except OSError as error:
            self.discard_episode()
            raise self._refused(error) from error
        self._task = task
        self._length += 1
        for key in self._columns:
            self._columns[key].append(arrays[key])
        for key in self._encoders:
            self._sample(key, arrays[key])

    def save_episode(self, success: bool, info: Mapping[str, Any] | None = None) -> int:
        """Commit the episode in progress and return its index; when this returns, no crash can lose it.

        `info` is kept with the episode as JSON.

        Raises:
            DatasetError: no frame was added, or `info` is not JSON-serialisable (the episode stays in progress).
            DatasetWriteError: the disk refused; the episode is discarded, the writer stays usable.
        """
        if not self._length:
            raise DatasetError("save_episode: expected at least one frame, found none; call add_frame first")
        try:
            info_text = json.dumps(dict(info or {}), ensure_ascii=False, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise DatasetError(f"info: expected JSON-serialisable values, found {error}") from error
        index, placed = len(self._meta.episodes), list[Path]()
        try:
            row = self._place_files(placed)
            row |= {"success": bool(success), "info": info_text}
            self._commit(row)
        except BaseException as error:
            # Without its row the episode does not exist; with it, the next opening finishes the commit.
            if len(self._meta.episodes) == index:
                for path in placed:
                    path.unlink(missing_ok=True)
            self.discard_episode()
            if isinstance(error, OSError) and not isinstance(error, DatasetWriteError):
                raise self._refused(error) from error
            raise
        self._begin()
        return index

    def discard_episode(self) -> None:
        """Drop the episode in progress; does nothing when there is none."""
        for encoder in self._encoders.values():
            encoder.abort()
        shutil.rmtree(self.root / RECORDING, ignore_errors=True)
        self._begin()

    def add_episode(self, episode: Episode) -> int:
        """Commit a whole episode and return its index. Raises what `add_frame` and `save_episode` raise.

        A bad frame discards the whole episode.
        """
        if self._length:
            raise DatasetError("add_episode: an episode is in progress; save or discard it first")
        try:
            for t in range(len(episode)):
                self.add_frame({key: values[t] for key, values in episode.frames.items()}, task=episode.task)
            return self.save_episode(episode.success, episode.info)
        except DatasetError:
            self.discard_episode()
            raise

    # ---- one episode's way to the disk

    def _begin(self) -> None:
        self._task = None
        self._length = 0
        self._encoders: dict[str, VideoEncoder] = {}
        self._columns: dict[str, list[np.ndarray]] = {k: [] for k, f in self._features.items() if not f.is_image}
        self._samples: dict[str, list[np.ndarray]] = {k: [] for k, f in self._features.items() if f.is_image}
        self._sample_step = 1

    def _start_videos(self) -> None:
        videos = [key for key, feature in self._features.items() if feature.is_image]
        folder = self.root / RECORDING
        if videos:
            folder.mkdir(exist_ok=True)
        for key in videos:
            encoder = VideoEncoder(folder / f"{key}.mp4", self._features[key].shape, self._meta.fps, self._video)
            self._encoders[key] = encoder

    def _sample(self, key: str, image: np.ndarray) -> None:
        """Keep evenly spaced images for the statistics, a bounded number of them."""
        samples = self._samples[key]
        if (self._length - 1) % self._sample_step == 0:
            samples.append(image.copy())
        if key == next(reversed(self._samples)) and len(samples) >= 2 * MAX_SAMPLED_IMAGES:
            self._sample_step *= 2
            for each in self._samples.values():
                del each[1::2]

    def _place_files(self, placed: list[Path]) -> dict[str, Any]:
        """Put the data file and the videos in their places and return the episode's row; `placed` collects the paths."""
        index, start, length = len(self._meta.episodes), self.num_frames, self._length
        task_index = self._tasks.index(self._task) if self._task in self._tasks else len(self._tasks)
        columns = {key: np.stack(values) for key, values in self._columns.items()}
        columns |= _bookkeeping(index, start, length, task_index, self._meta.fps)
        chunk, file = divmod(self._next_file, CHUNKS_SIZE)
        row: dict[str, Any] = {
            "episode_index": index, "tasks": [self._task], "length": length,
            "data/chunk_index": chunk, "data/file_index": file,
            "dataset_from_index": start, "dataset_to_index": start + length,
        }  # fmt: skip
        for key, encoder in self._encoders.items():
            encoder.close()
            written = len(VideoIndex(encoder.path, self.root))
            if written != length:
                raise OSError(f"{encoder.path}: expected {length} frames on the disk, found {written}")
            row |= {f"videos/{key}/chunk_index": chunk, f"videos/{key}/file_index": file}
            row |= {f"videos/{key}/from_timestamp": 0.0, f"videos/{key}/to_timestamp": length / self._meta.fps}
        for key, encoder in self._encoders.items():
            target = self._meta.video_path(row, key)
            placed.append(target)
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(encoder.path, target)
            fsync_directory(target.parent)
        data = self._meta.data_path(row)
        placed.append(data)
        tables.write_table(data, tables.frames_table(columns, self._meta.features))
        episodes_file = len(self._meta.episodes) // ROWS_PER_FILE
        chunk, file = divmod(episodes_file, CHUNKS_SIZE)
        row |= {"meta/episodes/chunk_index": chunk, "meta/episodes/file_index": file}
        return row | tables.flatten_stats(self._episode_stats(columns))

    def _episode_stats(self, columns: Mapping[str, np.ndarray]) -> dict[str, dict[str, list[Any]]]:
        stats = {}
        for key, feature in self._meta.features.items():
            if feature.is_image:
                stats[key] = Statistics.from_images(np.stack(self._samples[key])).to_dict(image=True)
            elif feature.dtype != "string":
                stats[key] = Statistics.from_array(columns[key]).to_dict()
        return stats

    def _commit(self, row: dict[str, Any]) -> None:
        """Steps 2 (tasks) to 4 of the module docstring."""
        tasks = self._tasks if self._task in self._tasks else [*self._tasks, str(self._task)]
        if tasks is not self._tasks:
            tables.write_tasks(self.root, tasks)
        table = pa.Table.from_pylist([row])
        if self._open_rows is not None and len(self._meta.episodes) % ROWS_PER_FILE:
            before = self._open_rows
            table = pa.concat_tables([before, table.select(before.column_names).cast(before.schema)])
        chunk, file = row["meta/episodes/chunk_index"], row["meta/episodes/file_index"]
        tables.write_table(self.root / EPISODES_PATH.format(chunk_index=chunk, file_index=file), table)
        self._open_rows, self._tasks = table, tasks
        self._meta.episodes.append({k: v for k, v in row.items() if not k.startswith("stats/")})
        self._next_file += 1
        try:
            self._meta.save_info(len(self._tasks))
        except OSError as error:
            raise DatasetWriteError(
                f"{self.root}: episode {row['episode_index']} is on the disk, but meta/info.json could not be replaced "
                f"({error}). Free some space; saving another episode, or opening the dataset for writing, adds it."
            ) from error
        add_stats(self._stats, row)
        save_stats(self.root, self._stats, self._meta.features)

    def _refused(self, error: OSError) -> DatasetWriteError:
        free = shutil.disk_usage(self.root).free / 1e6
        return DatasetWriteError(
            f"{self.root}: the disk refused a write ({error}); {free:.0f} MB are free. The episode in progress was "
            f"discarded, the {self.num_episodes} committed ones are safe. Free some space and record it again."
        )


def _last_rows(root: Path, episodes: int) -> pa.Table | None:
    """The rows in the file that the next episode's row joins."""
    files = episode_files(root)
    if not files or not episodes % ROWS_PER_FILE:
        return None
    return tables.read_table(files[-1], root)


def _refuse_occupied(root: Path) -> None:
    """Only a new, an empty, or a barely begun dataset folder may become a dataset."""
    if root.exists() and not root.is_dir():
        raise DatasetError(f"{root}: expected a folder for a new dataset, found a file")
    ours = {".writer.lock", "meta/robot_learning.json", "meta/.robot_learning.json.tmp", "meta/.info.json.tmp"}
    found = sorted(str(p.relative_to(root)) for p in root.rglob("*") if not p.is_dir()) if root.exists() else []
    foreign = [name for name in found if name not in ours]
    if foreign:
        what = "a dataset" if INFO_PATH in foreign else f"{foreign[0]} and {len(foreign) - 1} other files"
        raise DatasetError(
            f"{root}: expected no folder or an empty one for a new dataset, found {what}; append with open"
        )


def _ours(contract: Contract, video: VideoConfig, config: Mapping[str, Any] | None) -> dict[str, Any]:
    return {
        "format": 1,
        "package_version": package_version(),
        "contract_hash": contract.hash(),
        "contract": contract.to_dict(),
        "video": asdict(video),
        "config": dict(config or {}),
    }


def package_version() -> str:
    """The installed version of this package, "unknown" when it runs uninstalled."""
    try:
        return version("robot_learning")
    except PackageNotFoundError:
        return "unknown"


def _declared_features(
    contract: Contract, video: VideoConfig, extra: Mapping[str, Feature] | None
) -> dict[str, Feature]:
    features = contract_features(contract, extra)
    for key, feature in features.items():
        if feature.is_image:
            features[key] = replace(feature, info=video.feature_info(feature.shape, int(contract.rate)))
    return features | bookkeeping_features()


def _require_same_contract(meta: Metadata, contract: Contract) -> None:
    theirs = meta.contract
    if theirs is None:
        raise DatasetError(
            f"{meta.root}: expected {OURS_PATH} with the contract it was recorded under, found none (a dataset of another "
            f"tool). It can be read, but not appended to; record to a new folder."
        )
    lines = theirs.differences(contract)
    if lines:
        listing = "\n  ".join(lines)
        raise DatasetError(
            f"{meta.root} was recorded under contract {theirs.name!r} ({theirs.hash()}), which differs from the offered "
            f"{contract.name!r} ({contract.hash()}); here is the dataset, there the offer:\n  {listing}\n"
            f"Use the dataset's contract or record to a new folder."
        )


def _bookkeeping(index: int, start: int, length: int, task_index: int, fps: int) -> dict[str, np.ndarray]:
    frame = np.arange(length, dtype=np.int64)
    return {
        TIMESTAMP: (frame / fps).astype(np.float32),
        "frame_index": frame,
        "episode_index": np.full(length, index, np.int64),
        "index": start + frame,
        "task_index": np.full(length, task_index, np.int64),
    }
