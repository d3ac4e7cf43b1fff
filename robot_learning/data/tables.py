"""The parquet files of a LeRobot v3 dataset: frames, episodes and tasks, to and from numpy."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from robot_learning.data.files import DamagedDatasetError, write_atomic
from robot_learning.data.schema import Feature

TASKS_PATH = "meta/tasks.parquet"


def frames_table(columns: Mapping[str, np.ndarray], features: Mapping[str, Feature]) -> pa.Table:
    """The data columns of one episode as LeRobot lays them out: `(1,)` is a scalar column, `(n,)` a fixed-size list."""
    arrays = {}
    for key, feature in features.items():
        if feature.is_image:
            continue
        flat = pa.array(np.ascontiguousarray(columns[key]).reshape(-1))
        arrays[key] = flat if feature.shape == (1,) else _nested(flat, feature.shape)
    return pa.table(arrays)


def _nested(flat: pa.Array, shape: tuple[int, ...]) -> pa.Array:
    for size in reversed(shape):
        flat = pa.FixedSizeListArray.from_arrays(flat, size)
    return flat


def write_table(path: Path, table: pa.Table) -> None:
    """Write a parquet file, whole or not at all."""
    write_atomic(path, lambda temporary: pq.write_table(table, temporary, compression="snappy"))


def read_table(path: Path, root: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a parquet file.

    Raises:
        DamagedDatasetError: missing, truncated or lacking a column.
    """
    if not path.is_file():
        raise DamagedDatasetError(path, "a parquet file", "no such file", root)
    try:
        file = pq.ParquetFile(path, memory_map=False)
        missing = [c for c in columns or () if c not in file.schema_arrow.names]
        if missing:
            raise DamagedDatasetError(path, f"the columns {missing}", f"{file.schema_arrow.names}", root)
        return file.read(columns=list(columns) if columns is not None else None)
    except (pa.ArrowException, OSError) as error:
        raise DamagedDatasetError(path, "a readable parquet file", str(error).splitlines()[0], root) from error


def column_to_numpy(column: pa.ChunkedArray, feature: Feature, path: Path, root: Path) -> np.ndarray:
    """A parquet column as `(N, *shape)`; variable-length lists of the right length are accepted.

    Raises:
        DamagedDatasetError: the rows do not have the declared shape.
    """
    flat, rows = column.combine_chunks(), len(column)
    while pa.types.is_list(flat.type) or pa.types.is_fixed_size_list(flat.type) or pa.types.is_large_list(flat.type):
        flat = flat.flatten()
    if isinstance(flat, pa.ExtensionArray):
        flat = flat.storage
        while not pa.types.is_primitive(flat.type):
            flat = flat.flatten()
    values: np.ndarray = flat.to_numpy(zero_copy_only=False)
    if feature.dtype == "string":
        return values
    if values.size != rows * int(np.prod(feature.shape)):
        raise DamagedDatasetError(path, f"rows of shape {feature.shape}", f"{values.size} values in {rows} rows", root)
    shaped: np.ndarray = values.astype(feature.dtype, copy=False).reshape(rows, *feature.shape)
    return shaped


def write_tasks(root: Path, tasks: Sequence[str]) -> None:
    """Write `meta/tasks.parquet`: task i is row i. LeRobot needs the task to be declared as the pandas index."""
    table = pa.table({"task_index": np.arange(len(tasks), dtype=np.int64), "task": pa.array(list(tasks), pa.string())})
    described = [_pandas_column("task_index", "int64"), _pandas_column("task", "unicode", "object")]
    pandas = {"index_columns": ["task"], "column_indexes": [], "columns": described, "pandas_version": "2.2.3"}
    write_table(root / TASKS_PATH, table.replace_schema_metadata({"pandas": json.dumps(pandas)}))


def _pandas_column(name: str, kind: str, numpy_type: str | None = None) -> dict[str, Any]:
    return {
        "name": name, "field_name": name, "pandas_type": kind, "numpy_type": numpy_type or kind, "metadata": None
    }  # fmt: skip


def read_tasks(root: Path) -> list[str]:
    """The task strings by task index (`DamagedDatasetError` when the file is damaged or has gaps)."""
    path = root / TASKS_PATH
    table = read_table(path, root)
    name = next((n for n in ("task", "__index_level_0__") if n in table.column_names), None)
    if name is None or "task_index" not in table.column_names:
        raise DamagedDatasetError(path, "the columns task_index and task", f"{table.column_names}", root)
    pairs = sorted(zip(table["task_index"].to_pylist(), table[name].to_pylist(), strict=True))
    if [index for index, _ in pairs] != list(range(len(pairs))):
        raise DamagedDatasetError(path, f"task indices 0 to {len(pairs) - 1}", f"{[i for i, _ in pairs]}", root)
    return [str(task) for _, task in pairs]


def flatten_stats(stats: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """`{feature: {stat: value}}` to the columns `stats/<feature>/<stat>` of an episode row."""
    return {f"stats/{key}/{stat}": value for key, entry in stats.items() for stat, value in entry.items()}


def unflatten_stats(row: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The reverse of `flatten_stats`; other columns of the row are ignored."""
    stats: dict[str, dict[str, Any]] = {}
    for column, value in row.items():
        if column.startswith("stats/") and value is not None:
            _, key, stat = column.split("/", 2)
            stats.setdefault(key, {})[stat] = value
    return stats
