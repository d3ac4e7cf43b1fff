"""DatasetWriter: records episodes into a LeRobot v3 dataset so that a crash loses at most the episode in progress.

How an episode is committed, and what a crash at each step leaves, is told in commit.py.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from robot_learning.contract import Contract
from robot_learning.data.commit import EpisodeStore, StagedEpisode
from robot_learning.data.dataset import Dataset
from robot_learning.data.decoder import VideoIndex
from robot_learning.data.episode import Episode
from robot_learning.data.files import (
    DatasetError,
    DatasetWriteError,
    FrameError,
    WriterLock,
    fsync_file,
    write_json,
    writing,
)
from robot_learning.data.metadata import INFO_PATH, OURS_PATH, Metadata, load_info, new_info, video_config
from robot_learning.data.recovery import recover
from robot_learning.data.schema import Feature, bookkeeping_features, check_frame, check_task, contract_features
from robot_learning.data.statistics import MAX_SAMPLED_IMAGES, Statistics, sample_rows
from robot_learning.data.video import VIDEO_ERRORS, VideoConfig, VideoEncoder

RECORDING = ".recording"


class DatasetWriter:
    """Appends episodes to a dataset on disk; see the module docstring for what survives a crash.

    Make one with `create`, `open` or `open_or_create`; close it, or use it as a context manager. An episode that is in
    progress when it closes is discarded. One writer per dataset at a time.
    """

    def __init__(self, meta: Metadata, contract: Contract, lock: WriterLock) -> None:
        self.root = meta.root
        self.contract = contract
        self._store = EpisodeStore(meta)
        self._lock = lock
        self._video = video_config(meta.root, meta.ours)
        own = bookkeeping_features()
        self._features = {key: feature for key, feature in meta.features.items() if key not in own}
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
            DatasetError: something else is at `root`, the rate is not a whole number of frames a second, or an image
                has an odd side.
            DatasetLockedError: another process is creating it. DatasetWriteError: the disk refuses.
        """
        root = Path(root)
        if contract.rate != int(contract.rate):
            raise DatasetError(f"rate: expected whole frames a second (LeRobot v3), found {contract.rate} Hz")
        for key, stream in contract.images.items():
            if stream.shape[0] % 2 or stream.shape[1] % 2:
                raise DatasetError(f"{key}: expected an even height and width (video), found {stream.shape}")
        _refuse_occupied(root)
        with writing(root):
            root.mkdir(parents=True, exist_ok=True)
        lock = WriterLock(root)
        lock.acquire()
        try:
            _refuse_occupied(root)
            video = video or VideoConfig()
            meta = Metadata(root, {}, declared_features(contract, video, extra), _ours(contract, video, config), [])
            meta.info = new_info(meta.features, int(contract.rate), robot_type or contract.name)
            with writing(root):
                write_json(root / OURS_PATH, meta.ours)
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
            DatasetLockedError: another process is writing to it. DatasetWriteError: the disk refuses.
        """
        root = Path(root)
        load_info(root)
        lock = WriterLock(root)
        lock.acquire()
        try:
            with writing(root):
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

    def __exit__(self, *_: object) -> None:
        self.close()

    # ---- recording

    @property
    def readable_episodes(self) -> int:
        """Episodes that a reader of the folder sees now; while one is committed it is among `num_episodes` a little earlier."""
        return self._store.readable

    @property
    def num_episodes(self) -> int:
        """Committed episodes."""
        return self._store.num_episodes

    @property
    def num_frames(self) -> int:
        """Committed frames."""
        return self._store.num_frames

    @property
    def episode_length(self) -> int:
        """Frames of the episode in progress."""
        return self._length

    def add_frame(self, frame: Mapping[str, Any], task: str) -> None:
        """Add one frame to the episode in progress; `task` may change from frame to frame (play, practice).

        Raises:
            FrameError: a key is missing or unknown, a value has another shape or dtype or is not finite; the frame is not
                added and the episode goes on.
            DatasetWriteError: the disk refused the video; the episode is discarded, the writer stays usable.
        """
        arrays = check_frame(frame, self._features)
        check_task(task)
        try:
            if not self._encoders:
                self._start_videos()
            for key, encoder in self._encoders.items():
                encoder.write(arrays[key])
        except VIDEO_ERRORS as error:
            self.discard_episode()
            raise self._refused(error) from error
        self._tasks.append(task)
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
            info_text.encode()
        except (TypeError, ValueError) as error:
            raise DatasetError(f"info: expected JSON-serialisable values, found {error}") from error
        try:
            for encoder in self._encoders.values():
                encoder.close()
            images = {key: Statistics.from_images(np.stack(samples)) for key, samples in self._samples.items()}
            columns = {key: np.stack(values) for key, values in self._columns.items()}
            videos = {key: encoder.path for key, encoder in self._encoders.items()}
            return self._store.commit(StagedEpisode(self._tasks, columns, videos, images, bool(success), info_text))
        except DatasetWriteError:
            raise
        except VIDEO_ERRORS as error:
            raise self._refused(error) from error
        finally:
            self.discard_episode()

    def discard_episode(self) -> None:
        """Drop the episode in progress; does nothing when there is none."""
        for encoder in self._encoders.values():
            encoder.abort()
        shutil.rmtree(self.root / RECORDING, ignore_errors=True)
        self._begin()

    def add_episode(self, episode: Episode) -> int:
        """Commit a whole episode and return its index.

        Raises:
            FrameError: the episode is empty, its arrays differ in length, or a frame is bad; nothing is kept of it.
            DatasetError: an episode is in progress (it goes on), or `info` is not JSON-serialisable.
            DatasetWriteError: the disk refused.
        """
        if self._length:
            raise DatasetError("add_episode: expected no episode in progress, found one; save or discard it first")
        lengths = {key: np.shape(values)[0] if np.ndim(values) else 0 for key, values in episode.frames.items()}
        if len(set(lengths.values())) != 1 or not min(lengths.values()):
            raise FrameError(f"add_episode: expected arrays of one length, at least 1, found {lengths or 'none'}")
        try:
            for t in range(len(episode)):
                self.add_frame({key: values[t] for key, values in episode.frames.items()}, task=episode.task)
            return self.save_episode(episode.success, episode.info)
        except BaseException:
            self.discard_episode()
            raise

    def copy_episode(self, source: Dataset, episode: int) -> int:
        """Commit a copy of an episode of another dataset, its videos byte for byte, and return its new index.

        Raises:
            DatasetError: an episode is in progress (it goes on), the features differ, or the episode shares its video file with
                others (LeRobot's own writer).
            DamagedDatasetError: the source is damaged.
            DatasetWriteError: the disk refused.
        """
        if self._length:
            raise DatasetError("copy_episode: expected no episode in progress, found one; save or discard it first")
        for key, feature in self._features.items():
            theirs = source.features.get(key)
            if theirs is None or (theirs.dtype, theirs.shape) != (feature.dtype, feature.shape):
                raise DatasetError(f"{source.root}: {key}: expected {feature}, found {theirs}")
        start, end = source.episode_ranges[episode]
        keys = [key for key, feature in self._features.items() if not feature.is_image]
        columns = {key: source.column(key)[start:end] for key in keys}
        rows = start + sample_rows(end - start)
        images = {key: Statistics.from_images(source.decode(key, rows)) for key in self._samples}
        info = json.dumps(source.episode_info(episode), ensure_ascii=False)
        success = bool(source.episode_success[episode])
        try:
            videos = {key: self._copy_video(source, key, episode) for key in self._samples}
            tasks = [source.tasks[int(i)] for i in source.column("task_index")[start:end].reshape(-1)]
            return self._store.commit(StagedEpisode(tasks, columns, videos, images, success, info))
        except DatasetWriteError:
            raise
        except VIDEO_ERRORS as error:
            raise self._refused(error) from error
        finally:
            self.discard_episode()

    # ---- one episode's way to the disk

    def _copy_video(self, source: Dataset, key: str, episode: int) -> Path:
        path, first = source.video_position(key, episode)
        length = int(np.diff(source.episode_ranges[episode])[0])
        frames = len(VideoIndex(path, source.root))
        if first or frames != length:
            raise DatasetError(f"{path}: expected one episode of {length} frames in the file, found {frames} frames")
        target = self.root / RECORDING / f"{key}.mp4"
        target.parent.mkdir(exist_ok=True)
        shutil.copyfile(path, target)
        fsync_file(target)
        return target

    def _begin(self) -> None:
        self._tasks: list[str] = []
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
            encoder = VideoEncoder(folder / f"{key}.mp4", self._features[key].shape, self._store.meta.fps, self._video)
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

    def _refused(self, error: Exception) -> DatasetWriteError:
        free = shutil.disk_usage(self.root).free / 1e6
        return DatasetWriteError(
            f"{self.root}: the disk refused a write ({error}); {free:.0f} MB are free. The episode in progress was "
            f"discarded, the {self.num_episodes} committed ones are safe. Free some space and record it again."
        )


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


def declared_features(
    contract: Contract, video: VideoConfig, extra: Mapping[str, Feature] | None
) -> dict[str, Feature]:
    """Everything `meta/info.json` declares for a contract: its streams, the videos' encoding, the bookkeeping columns."""
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
