from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from robot_learning.data import DatasetError
from robot_learning.data.check import check

from .test_dataset import DAMAGE, FRONT, damage

DATA = "data/chunk-000/file-001.parquet"


def edit_column(path: Path, name: str, change: Callable[[np.ndarray], None]) -> None:
    """Change a scalar column of a parquet file in place."""
    table = pq.read_table(path)
    values = table[name].to_numpy().copy()
    change(values)
    pq.write_table(table.set_column(table.column_names.index(name), name, pa.array(values)), path)


def edit_json(path: Path, change: Callable[[dict], object]) -> None:  # type: ignore[type-arg]
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


def test_sound_dataset(root: Path) -> None:
    report = check(root)
    assert (report.problems, report.notes, report.episodes, report.frames) == ([], [], 3, 24)


@pytest.mark.parametrize(("name", "size"), DAMAGE.values(), ids=DAMAGE)
def test_damaged_file_is_named(root: Path, name: str, size: int | None) -> None:
    damage(root / name, size)
    assert any(Path(name).name in str(problem) for problem in check(root).problems)


@pytest.mark.parametrize(
    ("column", "change", "match"),
    [
        ("timestamp", lambda v: v.__setitem__(2, 0.21), r"timestamp: expected 0.2000 s in row 2, found 0.2100 s"),
        ("index", lambda v: v.__setitem__(0, 99), "index: expected 8 in row 0, found 99"),
        ("frame_index", lambda v: v.__iadd__(1), "frame_index: expected 0 in row 0, found 1"),
        ("next.reward", lambda v: v.__setitem__(1, np.nan), "next.reward: expected finite"),
        (
            "task_index",
            lambda v: v.__setitem__(slice(None), 0),
            "task_index: expected .'close the drawer'.*'open the drawer'",
        ),
    ],
)
def test_wrong_column_is_told(root: Path, column: str, change: Callable[[np.ndarray], None], match: str) -> None:
    edit_column(root / DATA, column, change)
    problems = check(root).problems
    assert len(problems) == 1 and problems[0].episode == 1
    assert re.search(match, str(problems[0]))


def test_every_problem_is_listed(root: Path) -> None:
    edit_column(root / DATA, "next.reward", lambda v: v.__setitem__(0, np.inf))
    damage(root / f"videos/{FRONT}/chunk-000/file-000.mp4", 1000)
    damage(root / "data/chunk-000/file-002.parquet", None)
    assert check(root).damaged_episodes == [0, 1, 2]


def test_bytes_changed_inside_a_video(root: Path) -> None:
    path = root / f"videos/{FRONT}/chunk-000/file-002.mp4"
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 200] = b"\xff" * 200
    path.write_bytes(content)
    assert check(root).damaged_episodes == [2]


def test_shorter_video(root: Path) -> None:
    videos = root / f"videos/{FRONT}/chunk-000"
    (videos / "file-002.mp4").write_bytes((videos / "file-001.mp4").read_bytes())
    assert "expected 11 frames, found 5" in str(check(root).problems[0])


def test_totals_and_contract(root: Path) -> None:
    edit_json(root / "meta/info.json", lambda info: info.__setitem__("total_frames", 25))
    edit_json(root / "meta/robot_learning.json", lambda ours: ours["contract"].__setitem__("rate", 20.0))
    text = "\n".join(map(str, check(root).problems))
    assert "total_frames: expected 24" in text and "contract_hash" in text and "fps: expected 20.0" in text


def test_stale_statistics(root: Path) -> None:
    edit_json(root / "meta/stats.json", lambda stats: stats["index"].__setitem__("count", [12]))
    assert "expected statistics of 24 frames, found of 12" in str(check(root).problems[0])


def test_statistics_one_episode_behind_are_a_note(root: Path) -> None:
    edit_json(root / "meta/stats.json", lambda stats: stats["index"].__setitem__("count", [13]))
    report = check(root)
    assert report.problems == [] and "lacks the last episode" in report.notes[0]


def test_statistics_that_a_writer_has_added_to_are_a_note(root: Path) -> None:
    edit_json(root / "meta/stats.json", lambda stats: stats["index"].update(count=[30], max=[29]))
    report = check(root)
    assert report.problems == [] and "30 frames, 24 were expected (a writer is at work)" in report.notes[0]


def test_leftovers_are_notes(root: Path) -> None:
    (root / "data/chunk-000/file-003.parquet").write_bytes(b"part")
    report = check(root)
    assert report.problems == [] and "file-003.parquet" in report.notes[0]


def test_no_dataset(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"found no meta/info\.json"):
        check(tmp_path)
