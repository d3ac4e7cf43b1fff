"""What a killed writer left: finish the commit it had begun, or remove its uncommitted files."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa

from robot_learning.data import tables
from robot_learning.data.commit import ROWS_PER_FILE
from robot_learning.data.decoder import VideoIndex
from robot_learning.data.files import DamagedDatasetError
from robot_learning.data.metadata import (
    STATS_PATH,
    Metadata,
    episode_files,
    load_episodes,
    load_info,
    load_stats,
    merged_stats,
    save_stats,
)
from robot_learning.data.schema import CHUNKS_SIZE, EPISODES_PATH


def recover(root: Path) -> list[str]:
    """Mend what a killed writer left; the caller holds the writer lock. Returns one line per thing done.

    Raises:
        DamagedDatasetError: committed metadata is damaged.
    """
    done = _remove_scratch(root)
    info, meta = load_info(root), Metadata.load(root)
    rows = load_episodes(root, meta.video_keys, None, with_stats=True)
    committed = len(meta.episodes)
    whole = [row for row in rows[committed:] if _is_whole(meta, row)]
    if len(whole) < len(rows) - committed:
        rows = rows[:committed]
        write_rows(root, rows)
        done.append(f"removed the half-written episode {committed}")
    meta.episodes = rows
    known = tables.read_tasks(root) if rows or (root / tables.TASKS_PATH).exists() else []
    lost = sorted({task for row in rows for task in row["tasks"]} - set(known))
    if lost:
        raise DamagedDatasetError(root / tables.TASKS_PATH, f"the tasks {lost} of the episode rows", f"{known}", root)
    used = len(rows) and 1 + max(known.index(task) for row in rows for task in row["tasks"])
    used = max(used, int(info.get("total_tasks", 0)))
    if len(rows) > committed:
        meta.save_info(used)
        done.append(f"finished the commit of episode {len(rows) - 1}")
    if len(known) > used:
        if used:
            tables.write_tasks(root, known[:used])
        else:
            (root / tables.TASKS_PATH).unlink()
        done.append(f"removed the uncommitted tasks {known[used:]}")
    done += _remove_uncommitted(meta)
    if rows and _stats_count(root) != rows[-1]["dataset_to_index"]:
        save_stats(root, merged_stats(rows), meta.features)
        done.append("brought meta/stats.json up to date")
    return done


def write_rows(root: Path, rows: list[dict[str, Any]]) -> None:
    """Replace the files with the episode rows by ones that hold exactly `rows` (with their stats columns)."""
    written = set()
    for number in range(0, len(rows), ROWS_PER_FILE):
        chunk, file = divmod(number // ROWS_PER_FILE, CHUNKS_SIZE)
        path = root / EPISODES_PATH.format(chunk_index=chunk, file_index=file)
        tables.write_table(path, pa.Table.from_pylist(rows[number : number + ROWS_PER_FILE]))
        written.add(path)
    for path in episode_files(root):
        if path not in written:
            path.unlink()


def _is_whole(meta: Metadata, row: dict[str, Any]) -> bool:
    """Whether the files of an episode are there with all its frames."""
    try:
        lengths = [tables.read_table(meta.data_path(row), meta.root).num_rows]
        lengths += [len(VideoIndex(meta.video_path(row, key), meta.root)) for key in meta.video_keys]
    except DamagedDatasetError:
        return False
    return all(length == row["length"] for length in lengths)


def _remove_scratch(root: Path) -> list[str]:
    done = []
    if (root / ".recording").exists():
        shutil.rmtree(root / ".recording")
        done.append("removed an episode that was being recorded")
    for temporary in [*root.glob("meta/**/.*.tmp"), *root.glob("data/*/.*.tmp")]:
        temporary.unlink()
        done.append(f"removed {temporary.relative_to(root)}")
    return done


def _remove_uncommitted(meta: Metadata) -> list[str]:
    """Remove the data and video files numbered after the last committed ones."""
    numbers = [row["data/chunk_index"] * CHUNKS_SIZE + row["data/file_index"] for row in meta.episodes]
    chunk, file = divmod(max(numbers, default=-1) + 1, CHUNKS_SIZE)
    row = {"data/chunk_index": chunk, "data/file_index": file}
    for key in meta.video_keys:
        row |= {f"videos/{key}/chunk_index": chunk, f"videos/{key}/file_index": file}
    leftovers = [meta.data_path(row), *(meta.video_path(row, key) for key in meta.video_keys)]
    done = []
    for path in leftovers:
        if path.exists():
            path.unlink()
            done.append(f"removed the uncommitted {path.relative_to(meta.root)}")
    return done


def _stats_count(root: Path) -> int:
    """The frames `meta/stats.json` was made of, -1 when it is missing."""
    if not (root / STATS_PATH).exists():
        return -1
    index = load_stats(root).get("index")
    return index.count if index else -1
