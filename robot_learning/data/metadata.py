"""The metadata of a dataset on disk: `meta/info.json`, the contract, the episode rows and where each file is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robot_learning.contract import Contract
from robot_learning.data import tables
from robot_learning.data.files import DamagedDatasetError, DatasetError, read_json, write_json
from robot_learning.data.schema import (
    CHUNKS_SIZE,
    CODEBASE_VERSION,
    DATA_PATH,
    EPISODES_PATH,
    VIDEO_PATH,
    Feature,
)
from robot_learning.data.statistics import Statistics, merge
from robot_learning.data.video import VideoConfig

INFO_PATH = "meta/info.json"
STATS_PATH = "meta/stats.json"
OURS_PATH = "meta/robot_learning.json"
EPISODE_COLUMNS = (
    "episode_index", "tasks", "length", "data/chunk_index", "data/file_index", "dataset_from_index", "dataset_to_index",
)  # fmt: skip


@dataclass
class Metadata:
    """What a dataset says about itself. Only the first `total_episodes` rows of `episodes` are committed."""

    root: Path
    info: dict[str, Any]
    features: dict[str, Feature]
    ours: dict[str, Any] | None
    episodes: list[dict[str, Any]]

    @property
    def fps(self) -> int:
        """Frames a second [Hz]."""
        return int(self.info["fps"])

    @property
    def video_keys(self) -> list[str]:
        """The features stored as video."""
        return [key for key, feature in self.features.items() if feature.dtype == "video"]

    @property
    def contract(self) -> Contract | None:
        """The contract the dataset was recorded under; None in datasets of others (`ContractError` when malformed)."""
        if self.ours is None:
            return None
        return Contract.from_dict(self.ours["contract"], where=str(self.root / OURS_PATH))

    def data_path(self, row: Mapping[str, Any]) -> Path:
        """The parquet file that holds an episode's frames."""
        pattern = self.info.get("data_path") or DATA_PATH
        return self.root / pattern.format(chunk_index=row["data/chunk_index"], file_index=row["data/file_index"])

    def video_path(self, row: Mapping[str, Any], key: str) -> Path:
        """The mp4 file that holds an episode's images of camera `key`."""
        pattern = self.info.get("video_path") or VIDEO_PATH
        chunk, file = row[f"videos/{key}/chunk_index"], row[f"videos/{key}/file_index"]
        return self.root / pattern.format(video_key=key, chunk_index=chunk, file_index=file)

    @staticmethod
    def load(root: Path, with_stats: bool = False) -> Metadata:
        """Read the metadata of the dataset at `root`.

        Raises:
            DatasetError: there is no dataset, or it has another format version.
            DamagedDatasetError: a metadata file is missing or damaged.
        """
        info = load_info(root)
        features = _features(root, info)
        ours = read_json(root / OURS_PATH, root) if (root / OURS_PATH).exists() else None
        if ours is not None and "contract" not in ours:
            raise DamagedDatasetError(root / OURS_PATH, "a key 'contract'", f"{sorted(ours)}", root)
        meta = Metadata(root, info, features, ours, [])
        meta.episodes = load_episodes(root, meta.video_keys, int(info["total_episodes"]), with_stats)
        return meta

    def save_info(self, tasks: int) -> None:
        """Commit: `meta/info.json` with the totals of `episodes`, in one step."""
        total = len(self.episodes)
        self.info |= {
            "total_episodes": total,
            "total_frames": int(self.episodes[-1]["dataset_to_index"]) if total else 0,
            "total_tasks": tasks,
            "splits": {"train": f"0:{total}"},
        }
        write_json(self.root / INFO_PATH, self.info)


def new_info(features: Mapping[str, Feature], fps: int, robot_type: str | None) -> dict[str, Any]:
    """The `meta/info.json` of an empty dataset."""
    return {
        "codebase_version": CODEBASE_VERSION,
        "robot_type": robot_type,
        "total_episodes": 0,
        "total_frames": 0,
        "total_tasks": 0,
        "chunks_size": CHUNKS_SIZE,
        "data_files_size_in_mb": 100,
        "video_files_size_in_mb": 200,
        "fps": fps,
        "splits": {},
        "data_path": DATA_PATH,
        "video_path": VIDEO_PATH if any(f.dtype == "video" for f in features.values()) else None,
        "features": {key: feature.to_dict() for key, feature in features.items()},
    }


def load_info(root: Path) -> dict[str, Any]:
    """Read and check `meta/info.json` (`DatasetError`, `DamagedDatasetError`)."""
    path = root / INFO_PATH
    if not path.is_file():
        raise DatasetError(
            f"{root}: expected a LeRobot v3 dataset, found no meta/info.json. Check the path; if the file was lost, "
            f"robot-learning dataset repair {root} rebuilds it from the data files when meta/robot_learning.json is there."
        )
    info = read_json(path, root)
    version = info.get("codebase_version")
    if version != CODEBASE_VERSION:
        raise DatasetError(
            f"{path}: codebase_version: expected {CODEBASE_VERSION!r}, found {version!r}. Convert older datasets with the "
            f"converter of the lerobot package first (robot-learning dataset repair cannot)."
        )
    lowest = {"fps": 1, "total_episodes": 0, "total_frames": 0}
    found = {key: info.get(key) for key in lowest}
    wrong = {key: value for key, value in found.items() if not isinstance(value, int | float) or value < lowest[key]}
    if wrong:
        raise DamagedDatasetError(path, f"numbers of at least {lowest}", f"{wrong}", root)
    if not isinstance(info.get("features"), dict):
        raise DamagedDatasetError(path, "the features by name", f"{info.get('features')!r}", root)
    return info


def _features(root: Path, info: Mapping[str, Any]) -> dict[str, Feature]:
    features = {}
    for key, plain in info["features"].items():
        try:
            features[key] = Feature.from_dict(plain)
        except (KeyError, TypeError, ValueError, AttributeError):
            raise DamagedDatasetError(root / INFO_PATH, f"{key}: dtype and shape", f"{plain!r}", root) from None
    return features


def video_config(root: Path, ours: Mapping[str, Any] | None) -> VideoConfig:
    """How the dataset's images are encoded, from what `meta/robot_learning.json` holds (`DatasetError`)."""
    plain = (ours or {}).get("video", {})
    try:
        return VideoConfig(**plain)
    except TypeError:
        known = sorted(VideoConfig.__dataclass_fields__)
        raise DatasetError(
            f"{root / OURS_PATH}: video: expected some of {known}, found {plain!r}. Correct it by hand, or remove it: "
            f"episodes are then encoded with the defaults."
        ) from None


def episode_files(root: Path) -> list[Path]:
    """The files with episode rows, in order."""
    return sorted(root.glob("meta/episodes/chunk-*/file-*.parquet"))


def load_episodes(root: Path, video_keys: list[str], total: int | None, with_stats: bool) -> list[dict[str, Any]]:
    """The first `total` episode rows (all when None) as dicts, with the stats columns only when asked for.

    Raises:
        DamagedDatasetError: a file is damaged, or rows are missing or out of order.
    """
    rows: list[dict[str, Any]] = []
    needed = [*EPISODE_COLUMNS]
    for key in video_keys:
        needed += [f"videos/{key}/{name}" for name in ("chunk_index", "file_index", "from_timestamp", "to_timestamp")]
    for path in episode_files(root):
        table = tables.read_table(path, root)
        missing = [name for name in needed if name not in table.column_names]
        if missing:
            raise DamagedDatasetError(path, f"the columns {missing}", "a file without them", root)
        if not with_stats:
            table = table.select([name for name in table.column_names if not name.startswith("stats/")])
        rows += table.to_pylist()
    if total is not None and len(rows) < total:
        where = root / EPISODES_PATH.format(chunk_index=0, file_index=0)
        raise DamagedDatasetError(where, f"{total} episode rows", f"{len(rows)}", root)
    rows = rows if total is None else rows[:total]
    for number, row in enumerate(rows):
        start = rows[number - 1]["dataset_to_index"] if number else 0
        found = (row["episode_index"], row["dataset_from_index"], row["dataset_to_index"])
        if found != (number, start, start + row["length"]):
            expected = f"episode {number} at frames {start} to {start + row['length']}"
            raise DamagedDatasetError(root / "meta/episodes", expected, f"episode {found[0]} at {found[1:]}", root)
    return rows


def merged_stats(rows: list[dict[str, Any]]) -> dict[str, Statistics]:
    """The statistics of all episodes together, by feature, from the stats columns of their rows."""
    merged: dict[str, Statistics] = {}
    for row in rows:
        add_stats(merged, row)
    return merged


def add_stats(merged: dict[str, Statistics], row: Mapping[str, Any]) -> None:
    """Merge one more episode's statistics into `merged`, always in episode order, so that a resumed recording ends equal."""
    for key, entry in tables.unflatten_stats(row).items():
        fresh = Statistics.from_dict(entry)
        merged[key] = merge([merged[key], fresh]) if key in merged else fresh


def load_stats(root: Path) -> dict[str, Statistics]:
    """Read `meta/stats.json`, whosever it is (`DamagedDatasetError`)."""
    path, stats = root / STATS_PATH, {}
    for key, entry in read_json(path, root).items():
        try:
            stats[key] = Statistics.from_dict(entry)
        except (KeyError, IndexError, TypeError, ValueError, AttributeError):
            raise DamagedDatasetError(path, f"{key}: min, max, mean, std and count", repr(entry)[:80], root) from None
    return stats


def save_stats(root: Path, stats: Mapping[str, Statistics], features: Mapping[str, Feature]) -> None:
    """Write `meta/stats.json` as LeRobot reads it."""
    plain = {key: entry.to_dict(image=features[key].is_image) for key, entry in stats.items()}
    write_json(root / STATS_PATH, plain)
