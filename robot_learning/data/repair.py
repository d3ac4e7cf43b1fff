"""Repairing a dataset: damaged and uncommitted episodes are moved aside, the others renumbered, the metadata rebuilt.

Nothing is deleted: what cannot be kept goes to `quarantine/`. Every step replaces whole files, so a repair that was
interrupted is finished by another one. Videos are never re-encoded and files keep their numbers (LeRobot v3 allows gaps).
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from robot_learning.contract import Contract
from robot_learning.data import tables
from robot_learning.data.check import DataFiles, check_columns, check_video
from robot_learning.data.commit import bookkeeping, episode_row
from robot_learning.data.decoder import VideoReader
from robot_learning.data.files import DatasetError, WriterLock, read_json, set_aside, writing
from robot_learning.data.metadata import (
    INFO_PATH,
    OURS_PATH,
    STATS_PATH,
    Metadata,
    episode_files,
    merged_stats,
    new_info,
    save_stats,
    video_config,
)
from robot_learning.data.recovery import write_rows
from robot_learning.data.repair_bags import bag_of, keep_bag, number_bags, set_strange_bags_aside, with_bag
from robot_learning.data.schema import CHUNKS_SIZE, CODEBASE_VERSION, Feature, bookkeeping_features
from robot_learning.data.statistics import Statistics, sample_rows
from robot_learning.data.video import VideoConfig
from robot_learning.data.writer import declared_features

MAX_TASKS = 100_000  # a greater number in a data file is damage
Track = Callable[[Iterable[Any]], Iterable[Any]]


@dataclass
class Repair:
    """What a repair did: `kept` episodes by their old number, `quarantined` ones with the reason, `rebuilt` metadata."""

    kept: list[int] = field(default_factory=list)
    quarantined: list[str] = field(default_factory=list)
    rebuilt: list[str] = field(default_factory=list)


def repair(root: Path, track: Track = lambda rows: rows) -> Repair:
    """Make the dataset at `root` whole again and tell what was kept.

    Args:
        track: wraps the episodes that are gone through, for a progress bar.

    Raises:
        DatasetError: there is no dataset of this package at `root` (its `meta/robot_learning.json` is needed).
        DatasetLockedError: a writer is at work. DatasetWriteError: the disk refuses.
    """
    ours_path = root / OURS_PATH
    if not ours_path.is_file():
        raise DatasetError(
            f"{root}: expected {OURS_PATH}, found none. Only datasets recorded by this package can be repaired; its "
            f"contract tells what the frames must look like. If the file was lost, copy it from a dataset of the same robot."
        )
    lock = WriterLock(root)
    lock.acquire()
    try:
        with writing(root):
            return _repair(root, read_json(ours_path, root), track)
    finally:
        lock.release()


def _repair(root: Path, ours: dict[str, Any], track: Track) -> Repair:
    result = Repair()
    meta = _load_or_rebuild_info(root, ours, result)
    candidates, strays = _candidates(meta, result)
    meta.episodes = candidates
    files, reader = DataFiles(meta), VideoReader(root)
    tasks = _read_tasks(meta, files, result)
    rows: list[dict[str, Any]] = []
    with_bags: list[dict[str, Any]] = []
    for candidate in track(candidates):
        reason = _damage(meta, candidate, files, reader)
        if reason:
            moved = _quarantine(meta, candidate)
            result.quarantined.append(
                f"episode {candidate['episode_index']}: {reason} ({', '.join(moved) or 'no files left'})"
            )
            continue
        has_bag = bag_of(root, candidate) is not None
        rows.append(_rebuild(meta, candidate, files, reader, tasks, rows))
        with_bags += rows[-1:] if has_bag else []
        result.kept.append(candidate["episode_index"])
    for stray in strays:
        result.quarantined.append(f"uncommitted file {set_aside(root, stray)}")
    result.quarantined += [f"bag of no episode {moved}" for moved in set_strange_bags_aside(root, with_bags)]
    used = {task for row in rows for task in row["tasks"]}
    while tasks and tasks[-1] not in used:
        tasks.pop()
    _write_metadata(meta, rows, tasks)
    number_bags(root, rows)
    return result


def _load_or_rebuild_info(root: Path, ours: dict[str, Any], result: Repair) -> Metadata:
    """`meta/info.json` as it is, or made anew from the contract and the columns of a data file."""
    try:
        info = read_json(root / INFO_PATH, root)
        if info.get("codebase_version") != CODEBASE_VERSION:
            raise DatasetError(
                f"{root / INFO_PATH}: expected {CODEBASE_VERSION}, found {info.get('codebase_version')!r}"
            )
        features = {key: Feature.from_dict(value) for key, value in info["features"].items()}
        if int(info["fps"]) <= 0 or int(info["total_episodes"]) < 0:
            raise ValueError("fps and total_episodes are not counts")
    except (DatasetError, KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, DatasetError) and "codebase" in str(error) and CODEBASE_VERSION in str(error):
            raise
        contract = Contract.from_dict(ours["contract"], where=str(root / OURS_PATH))
        features = declared_features(contract, video_config(root, ours), _extra_columns(root, contract))
        info = new_info(features, int(contract.rate), contract.name)
        info["total_episodes"] = None
        result.rebuilt.append(f"{INFO_PATH} from the contract")
    return Metadata(root, info, features, ours, [])


def _extra_columns(root: Path, contract: Contract) -> dict[str, Feature]:
    """Columns of the first readable data file that the contract does not declare."""
    known = declared_features(contract, VideoConfig(), None)
    for path in sorted(root.glob("data/chunk-*/file-*.parquet")):
        try:
            schema = tables.read_table(path, root).schema
        except DatasetError:
            continue
        extra = {}
        for column in schema:
            if column.name not in known:
                size = column.type.list_size if pa.types.is_fixed_size_list(column.type) else 1
                scalar = column.type.value_type if pa.types.is_fixed_size_list(column.type) else column.type
                extra[column.name] = Feature(str(scalar.to_pandas_dtype().__name__).rstrip("_"), (size,))
        return extra
    return {}


def _read_tasks(meta: Metadata, files: DataFiles, result: Repair) -> list[str]:
    """The tasks by number. A task keeps its number, else a repair that is interrupted would leave data files with new
    numbers beside an old list. Where the list is lost, the names come from the episode rows, which have them as they come."""
    try:
        return tables.read_tasks(meta.root)
    except DatasetError:
        result.rebuilt.append(f"{tables.TASKS_PATH} from the episode rows")
    names: dict[int, str] = {}
    for row in meta.episodes:
        with contextlib.suppress(DatasetError, KeyError):
            own = dict.fromkeys(files.rows(row)["task_index"].to_pylist())
            names |= zip(own, row.get("tasks") or (), strict=False)
    known = [number for number in names if 0 <= number < MAX_TASKS]
    return [names.get(number, f"unknown task {number}") for number in range(max(known, default=-1) + 1)]


def _candidates(meta: Metadata, result: Repair) -> tuple[list[dict[str, Any]], list[Path]]:
    """The committed episodes' rows in order, rows made up for data files whose row was lost, and files of no episode."""
    total = meta.info["total_episodes"]
    rows: list[dict[str, Any]] = []
    lost = total is None
    for path in episode_files(meta.root):
        try:
            rows += tables.read_table(path, meta.root).to_pylist()
        except DatasetError:
            result.rebuilt.append(f"{path.relative_to(meta.root)} from the data files")
            set_aside(meta.root, path)
            lost = True
    rows = _once([row for row in rows if total is None or row["episode_index"] < total])
    lost = lost or len(rows) < int(total or 0)
    named = {_number(meta.data_path(row)) for row in rows}
    free = [path for path in sorted(meta.root.glob("data/chunk-*/file-*.parquet")) if _number(path) not in named]
    if lost:
        rows += [_row_from_file(path) for path in free]
        rows.sort(key=lambda row: row["data/chunk_index"] * CHUNKS_SIZE + row["data/file_index"])
        named |= {_number(path) for path in free}
        free = []
    for key in meta.video_keys:
        videos = sorted((meta.root / "videos" / key).glob("chunk-*/file-*.mp4"))
        free += [path for path in videos if _number(path) not in named]
    return [_with_videos(meta, row) for row in rows], free


def _once(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The first row of each data file: a repair killed between two files of rows leaves an episode in the new and the old."""
    first: dict[int, dict[str, Any]] = {}
    for row in rows:
        first.setdefault(row["data/chunk_index"] * CHUNKS_SIZE + row["data/file_index"], row)
    return list(first.values())


def _number(path: Path) -> int:
    """The running number of a chunked file."""
    chunk, file = (int(re.sub(r"\D", "", part)) for part in (path.parent.name, path.stem))
    return chunk * CHUNKS_SIZE + file


def _row_from_file(path: Path) -> dict[str, Any]:
    chunk, file = divmod(_number(path), CHUNKS_SIZE)
    return {"episode_index": _number(path), "data/chunk_index": chunk, "data/file_index": file, "recovered": True}


def _with_videos(meta: Metadata, row: dict[str, Any]) -> dict[str, Any]:
    """The row with the file numbers of its videos, which are those of its data file."""
    for key in meta.video_keys:
        row.setdefault(f"videos/{key}/chunk_index", row["data/chunk_index"])
        row.setdefault(f"videos/{key}/file_index", row["data/file_index"])
    row.setdefault("dataset_from_index", 0)
    return row


def _damage(meta: Metadata, row: dict[str, Any], files: DataFiles, reader: VideoReader) -> str:
    """Why an episode cannot be kept, empty when it can. Its running numbers do not matter, they are made anew."""
    try:
        length = files.rows(row).num_rows
    except DatasetError as error:
        return str(error).splitlines()[0]
    if not length or row.get("length", length) != length:
        return f"expected {row.get('length', 'some')} frames, found {length}"
    row["length"] = length
    texts = [p.text for p in check_columns(meta, row, [], files) if p.text.split(":")[0] not in bookkeeping_features()]
    if not texts:
        if row.get("recovered"):  # the number of its file is another where there are gaps
            row["episode_index"] = files.rows(row)["episode_index"][0].as_py()
        numbers = files.rows(row)["task_index"].to_numpy()
        if numbers.min() < 0 or numbers.max() >= MAX_TASKS:
            texts.append(f"task_index: expected 0 to {MAX_TASKS - 1}, found {numbers.min()} to {numbers.max()}")
    for key in meta.video_keys:
        row[f"videos/{key}/from_timestamp"] = 0.0
        texts += [f"{key}: {problem.text}" for problem in check_video(meta, row, key, reader, decode=True)]
    return "; ".join(texts)


def _rebuild(
    meta: Metadata,
    row: dict[str, Any],
    files: DataFiles,
    reader: VideoReader,
    tasks: list[str],
    kept: list[dict[str, Any]],
) -> dict[str, Any]:
    """The episode's new row; its data file is rewritten when its numbers changed. New names are appended to `tasks`."""
    table, path = files.rows(row), meta.data_path(row)
    columns = {
        k: tables.column_to_numpy(table[k], f, path, meta.root) for k, f in meta.features.items() if not f.is_image
    }
    indices = columns["task_index"].reshape(-1).tolist()
    tasks += [f"unknown task {number}" for number in range(len(tasks), max(indices) + 1)]
    named = [tasks[i] for i in indices]
    if len(row.get("tasks") or ()) == 1:  # also right when tasks.parquet is lost
        named = row["tasks"] * len(named)
    own = list(dict.fromkeys(named))
    tasks += [task for task in own if task not in tasks]
    task_index = np.array([tasks.index(task) for task in named], np.int64)
    start = kept[-1]["dataset_to_index"] if kept else 0
    keep_bag(meta.root, row, len(kept))  # while the data file has the old number, should the row be lost
    fresh = bookkeeping(len(kept), start, row["length"], task_index, meta.fps)
    if any(not np.array_equal(columns[key].reshape(-1), values) for key, values in fresh.items()):
        tables.write_table(path, tables.frames_table(columns | fresh, meta.features))
    known = tables.unflatten_stats(row)
    images = {}
    for key in meta.video_keys:
        if key in known:
            images[key] = Statistics.from_dict(known[key])
        else:
            images[key] = Statistics.from_images(
                reader.frames(meta.video_path(row, key), sample_rows(row["length"]).tolist())
            )
    success = row.get("success", bool(columns["next.success"].any()))
    info = with_bag(meta.root, row, len(kept), row.get("info") or json.dumps({"recovered": True}))
    number = row["data/chunk_index"] * CHUNKS_SIZE + row["data/file_index"]
    return episode_row(meta, number, len(kept), start, own, columns | fresh, images, success, info)


def _quarantine(meta: Metadata, row: dict[str, Any]) -> list[str]:
    files = [meta.data_path(row), *(meta.video_path(row, key) for key in meta.video_keys)]
    bag = None if row.get("recovered") else bag_of(meta.root, row)  # of a row that is lost, the old number is not known
    return [set_aside(meta.root, path) for path in [*files, *([bag] if bag else [])] if path.exists()]


def _write_metadata(meta: Metadata, rows: list[dict[str, Any]], tasks: list[str]) -> None:
    if tasks:
        tables.write_tasks(meta.root, tasks)
    else:
        (meta.root / tables.TASKS_PATH).unlink(missing_ok=True)
    write_rows(meta.root, rows)
    meta.episodes = rows
    meta.save_info(len(tasks))
    if rows:
        save_stats(meta.root, merged_stats(rows), meta.features)
    else:
        (meta.root / STATS_PATH).unlink(missing_ok=True)
