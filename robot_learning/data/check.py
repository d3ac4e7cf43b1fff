"""Checking every file of a dataset: what a person or a script should know before trusting it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from robot_learning.contract import ContractError
from robot_learning.data import tables
from robot_learning.data.decoder import VideoReader
from robot_learning.data.files import DatasetError
from robot_learning.data.metadata import OURS_PATH, STATS_PATH, Metadata, load_stats
from robot_learning.data.schema import INDEX_KEYS, TIMESTAMP, contract_features

TIMESTAMP_TOLERANCE = 1e-4  # [s], LeRobot's
DECODE_BATCH = 256
Track = Callable[[Iterable[Any]], Iterable[Any]]


@dataclass(frozen=True)
class Problem:
    """Something wrong: in which file, with which episode (None when it concerns the whole dataset), and what."""

    path: Path
    text: str
    episode: int | None = None

    def __str__(self) -> str:
        where = "" if self.episode is None else f"episode {self.episode}: "
        return f"{where}{self.path}: {self.text}"


@dataclass
class Report:
    """What a check found. `notes` are no problem: leftovers of a killed writer, or what one that is at
    work has added meanwhile; readers ignore both."""

    episodes: int = 0
    frames: int = 0
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def damaged_episodes(self) -> list[int]:
        """Episodes with a problem of their own."""
        return sorted({problem.episode for problem in self.problems if problem.episode is not None})


def check(root: Path, track: Track = lambda rows: rows, decode: bool = True) -> Report:
    """Check the dataset at `root` and list every problem.

    Args:
        track: wraps the episodes that are gone through, for a progress bar.
        decode: also decode every image (the slow part).

    Raises:
        DatasetError: there is no dataset of this format version at all.
    """
    report = Report()
    try:
        meta = Metadata.load(root, with_stats=True)
    except DatasetError as error:
        if not (root / "meta/info.json").is_file():
            raise
        report.problems.append(Problem(root / "meta", str(error).splitlines()[0]))
        return report
    report.episodes = len(meta.episodes)
    report.frames = meta.episodes[-1]["dataset_to_index"] if meta.episodes else 0
    report.problems += _check_metadata(meta)
    tasks = _tasks(meta, report)
    reader = VideoReader(root)
    checked = DataFiles(meta)
    for row in track(meta.episodes):
        report.problems += check_columns(meta, row, tasks, checked)
        for key in meta.video_keys:
            report.problems += check_video(meta, row, key, reader, decode)
    report.problems += _check_stats(meta, report.frames, report.notes)
    report.notes += _leftovers(meta)
    return report


class DataFiles:
    """Reads each data file once while its episodes are gone through in order; episodes of foreign datasets share files."""

    def __init__(self, meta: Metadata) -> None:
        self._meta = meta
        self._path: Path | None = None
        self._table: pa.Table | None = None
        self._starts: dict[Path, list[int]] = {}
        for row in meta.episodes:
            self._starts.setdefault(meta.data_path(row), []).append(row["dataset_from_index"])

    def rows(self, row: dict[str, Any]) -> pa.Table:
        """The episode's part of its data file, the whole file when it is the only one in it (`DamagedDatasetError`)."""
        path = self._meta.data_path(row)
        if path != self._path or self._table is None:
            self._table, self._path = tables.read_table(path, self._meta.root), path
        starts = self._starts[path]
        return (
            self._table if len(starts) == 1 else self._table.slice(row["dataset_from_index"] - starts[0], row["length"])
        )


def _check_metadata(meta: Metadata) -> list[Problem]:
    path = meta.root / "meta/info.json"
    total = meta.episodes[-1]["dataset_to_index"] if meta.episodes else 0
    problems = []
    if meta.info["total_frames"] != total:
        problems.append(
            Problem(path, f"total_frames: expected {total} as in the episode rows, found {meta.info['total_frames']}")
        )
    if meta.ours is None:
        return problems
    try:
        contract = meta.contract
    except ContractError as error:
        return [*problems, Problem(meta.root / OURS_PATH, str(error))]
    assert contract is not None
    if contract.hash() != meta.ours.get("contract_hash"):
        text = (
            f"contract_hash: expected {contract.hash()} of the contract in it, found {meta.ours.get('contract_hash')}"
        )
        problems.append(Problem(meta.root / OURS_PATH, text))
    for key, feature in contract_features(contract).items():
        found = meta.features.get(key)
        if found is None or (found.dtype, found.shape) != (feature.dtype, feature.shape):
            problems.append(
                Problem(path, f"{key}: expected {feature.dtype} {feature.shape} as in the contract, found {found}")
            )
    if int(contract.rate) != meta.fps:
        problems.append(Problem(path, f"fps: expected {contract.rate} as in the contract, found {meta.fps}"))
    return problems


def _tasks(meta: Metadata, report: Report) -> list[str]:
    if not meta.episodes:
        return []
    try:
        return tables.read_tasks(meta.root)
    except DatasetError as error:
        report.problems.append(Problem(meta.root / tables.TASKS_PATH, str(error).splitlines()[0]))
        return []


def check_columns(meta: Metadata, row: dict[str, Any], tasks: list[str], files: DataFiles) -> list[Problem]:
    """Problems with an episode's columns: absent, of another type or length, not running on, not finite."""
    path, episode = meta.data_path(row), row["episode_index"]
    try:
        table = files.rows(row)
        declared = {key for key, feature in meta.features.items() if not feature.is_image}
        if set(table.column_names) != declared:
            text = f"expected the columns {sorted(declared)}, found {sorted(table.column_names)}"
            return [Problem(path, text, episode)]
        if table.num_rows != row["length"]:
            return [Problem(path, f"expected {row['length']} frames, found {table.num_rows}", episode)]
        columns = {k: tables.column_to_numpy(table[k], meta.features[k], path, meta.root) for k in declared}
    except DatasetError as error:
        return [Problem(path, str(error).splitlines()[0], episode)]
    texts = [
        f"{key}: expected finite numbers"
        for key, v in columns.items()
        if v.dtype.kind == "f" and not np.isfinite(v).all()
    ]
    texts += _check_bookkeeping(meta, row, columns)
    used = sorted(set(columns["task_index"].reshape(-1).tolist()))
    named = [tasks[i] if 0 <= i < len(tasks) else f"(no task {i})" for i in used]
    if tasks and sorted(named) != sorted(row["tasks"]):
        texts.append(f"task_index: expected {row['tasks']} as in the episode row, found {named}")
    return [Problem(path, text, episode) for text in texts]


def _check_bookkeeping(meta: Metadata, row: dict[str, Any], columns: dict[str, np.ndarray]) -> list[str]:
    frame = np.arange(row["length"])
    expected = {
        "frame_index": frame,
        "index": row["dataset_from_index"] + frame,
        "episode_index": np.full(row["length"], row["episode_index"]),
    }
    texts = []
    for key in INDEX_KEYS:
        if key in expected and not np.array_equal(columns[key].reshape(-1), expected[key]):
            at = int(np.flatnonzero(columns[key].reshape(-1) != expected[key])[0])
            texts.append(f"{key}: expected {expected[key][at]} in row {at}, found {columns[key].reshape(-1)[at]}")
    late = np.abs(columns[TIMESTAMP].reshape(-1).astype(np.float64) - frame / meta.fps)
    if late.max() > TIMESTAMP_TOLERANCE + 1e-6 * frame[-1] / meta.fps:  # float32 cannot do better in long episodes
        at = int(late.argmax())
        texts.append(
            f"timestamp: expected {at / meta.fps:.4f} s in row {at}, found {columns[TIMESTAMP].reshape(-1)[at]:.4f} s"
        )
    return texts


def check_video(meta: Metadata, row: dict[str, Any], key: str, reader: VideoReader, decode: bool) -> list[Problem]:
    """Problems with an episode's images of camera `key`: file, length, size, timestamps, decoding."""
    path, episode, length = meta.video_path(row, key), row["episode_index"], row["length"]
    try:
        index = reader.index(path)
        start = round(row[f"videos/{key}/from_timestamp"] * meta.fps)
        if len(index) < start + length:
            return [Problem(path, f"expected {start + length} frames, found {len(index)}", episode)]
        if index.shape != meta.features[key].shape:
            return [Problem(path, f"expected images of shape {meta.features[key].shape}, found {index.shape}", episode)]
        shown = index.seconds[start : start + length]
        wanted = row[f"videos/{key}/from_timestamp"] + np.arange(length) / meta.fps
        off = np.abs(shown - wanted)
        if off.max() > TIMESTAMP_TOLERANCE:
            at = int(off.argmax())
            return [Problem(path, f"expected frame {at} at {wanted[at]:.4f} s, found it at {shown[at]:.4f} s", episode)]
        for first in range(0, length if decode else 0, DECODE_BATCH):
            reader.frames(path, range(start + first, start + min(first + DECODE_BATCH, length)))
    except DatasetError as error:
        return [Problem(path, str(error).splitlines()[0], episode)]
    return []


def _check_stats(meta: Metadata, frames: int, notes: list[str]) -> list[Problem]:
    path = meta.root / STATS_PATH
    if not frames:
        return []
    try:
        stats = load_stats(meta.root)
    except DatasetError as error:
        return [Problem(path, str(error).splitlines()[0])]
    expected = {key for key, feature in meta.features.items() if feature.dtype != "string"}
    problems = [Problem(path, f"{key}: expected statistics, found none") for key in sorted(expected - stats.keys())]
    if "index" in stats and stats["index"].count == meta.episodes[-1]["dataset_from_index"]:
        notes.append("meta/stats.json lacks the last episode (a writer was killed)")
    elif "index" in stats and stats["index"].count > frames:
        notes.append(f"meta/stats.json has {stats['index'].count} frames, {frames} were expected (a writer is at work)")
    elif "index" in stats and (stats["index"].count, stats["index"].max[0]) != (frames, frames - 1):
        found = f"{stats['index'].count}"
        problems.append(Problem(path, f"expected statistics of {frames} frames, found of {found}"))
    return problems


def _leftovers(meta: Metadata) -> list[str]:
    """Files that no committed episode names."""
    named = {meta.data_path(row) for row in meta.episodes}
    named |= {meta.video_path(row, key) for row in meta.episodes for key in meta.video_keys}
    found = [*meta.root.glob("data/**/*.parquet"), *meta.root.glob("videos/**/*.mp4")]
    notes = [f"uncommitted file {path.relative_to(meta.root)}" for path in sorted(found) if path not in named]
    if (meta.root / ".recording").exists():
        notes.append("an episode is being recorded, or its recording was killed (.recording/)")
    return notes
