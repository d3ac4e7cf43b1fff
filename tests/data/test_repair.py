from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from robot_learning.contract import Contract
from robot_learning.data import Dataset, DatasetError, DatasetLockedError, DatasetWriter
from robot_learning.data.check import check
from robot_learning.data.repair import repair

from .kills import killed_at_rename
from .recordings import make_episode
from .test_dataset import DAMAGE, FRONT, damage

METADATA = {name: case for name, case in DAMAGE.items() if case[0].startswith("meta")}
EPISODE = {name: case for name, case in DAMAGE.items() if not case[0].startswith("meta")}


def test_sound_dataset_is_left_as_it_is(root: Path) -> None:
    def contents() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in sorted(root.rglob("*")) if path.suffix in (".mp4", ".json")}

    before = contents()
    result = repair(root)
    assert (result.kept, result.quarantined, result.rebuilt) == ([0, 1, 2], [], [])
    assert contents() == before


@pytest.mark.parametrize(("name", "size"), EPISODE.values(), ids=EPISODE)
def test_damaged_episode_is_moved_aside(root: Path, contract: Contract, name: str, size: int | None) -> None:
    actions = Dataset(root).column("action").copy()
    damage(root / name, size)
    result = repair(root)
    assert result.kept == [0, 2] and result.quarantined[0].startswith("episode 1: ")
    assert check(root).problems == [] and check(root).notes == []
    dataset = Dataset(root)
    np.testing.assert_array_equal(dataset.column("action"), np.delete(actions, range(8, 13), axis=0))
    assert dataset.tasks == ["open the drawer"]
    saved = [path for path in (root / "quarantine").rglob("*") if path.is_file()]
    assert len(saved) == (3 if size is not None else 2)
    with DatasetWriter.open(root, contract) as writer:
        assert writer.add_episode(make_episode(contract, 3)) == 2
    assert check(root).problems == []


@pytest.mark.parametrize(("name", "size"), METADATA.values(), ids=METADATA)
def test_lost_metadata_is_rebuilt(root: Path, name: str, size: int | None) -> None:
    before = Dataset(root)
    actions, success = before.column("action").copy(), before.episode_success.tolist()
    damage(root / name, size)
    result = repair(root)
    assert result.kept == [0, 1, 2] and len(result.rebuilt) == 1
    assert check(root).problems == []
    after = Dataset(root)
    np.testing.assert_array_equal(after.column("action"), actions)
    assert after.episode_success.tolist() == success
    assert after.episode_tasks == before.episode_tasks


def test_rows_and_tasks_lost_together(root: Path) -> None:
    damage(root / "meta/episodes/chunk-000/file-000.parquet", 100)
    damage(root / "meta/tasks.parquet", None)
    repair(root)
    assert Dataset(root).episode_tasks == ["unknown task 0", "unknown task 1", "unknown task 0"]
    assert check(root).problems == []


def test_uncommitted_files_are_moved_aside(root: Path) -> None:
    stray = root / f"videos/{FRONT}/chunk-000/file-003.mp4"
    stray.write_bytes((root / f"videos/{FRONT}/chunk-000/file-001.mp4").read_bytes())
    result = repair(root)
    assert "uncommitted" in result.quarantined[0] and not stray.exists()
    assert check(root).notes == []


def play(root: Path, contract: Contract, tried: list[list[str]]) -> None:
    """A dataset of one episode for each entry of `tried`, which names the task of every frame."""
    with DatasetWriter.create(root, contract) as writer:
        for seed, tasks in enumerate(tried):
            frames = make_episode(contract, len(tasks), seed).frames
            for t, task in enumerate(tasks):
                writer.add_frame({key: values[t] for key, values in frames.items()}, task)
            writer.save_episode(seed % 2 == 0, {"seed": seed})


def stretches(root: Path) -> list[tuple[int | None, int, str]]:
    """Seed (None where the row was lost), length and task of every stretch."""
    dataset = Dataset(root)
    return [(dataset.episode_info(s.episode).get("seed"), s.end - s.start, s.task) for s in dataset.segments]


def killed_repairs(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[int, Path]]:
    """Copies of a dataset whose repair was killed at the first, second ... rename, and at last one that is repaired."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)  # there is no power cut here, and many files
    killed, step = [0], 0
    while killed:
        step += 1
        root = shutil.copytree(dataset, dataset.with_name(f"killed_at_{step}"))
        with killed_at_rename(step) as killed:
            repair(root)
        yield step, root


TRIED = [["A"] * 3, ["B", "B", "C"], ["D", "A"], ["C", "E"], ["E", "B"], ["F"]]


@pytest.mark.parametrize("lost", ["", "meta/tasks.parquet", "meta/episodes/chunk-000/file-001.parquet"])
def test_interrupted_repair_is_finished_by_another(
    tmp_path: Path, contract: Contract, monkeypatch: pytest.MonkeyPatch, lost: str
) -> None:
    monkeypatch.setattr("robot_learning.data.commit.ROWS_PER_FILE", 2)
    monkeypatch.setattr("robot_learning.data.recovery.ROWS_PER_FILE", 2)
    play(tmp_path / "d", contract.select([key for key in contract.observation if key not in contract.images]), TRIED)
    damage(tmp_path / "d/data/chunk-000/file-000.parquet", 300)
    if lost:
        damage(tmp_path / "d" / lost, None)
    whole = shutil.copytree(tmp_path / "d", tmp_path / "whole")
    repair(whole)
    expected = stretches(whole)
    if "episodes" not in lost:
        assert expected == [(1, 2, "B"), (1, 1, "C"), (2, 1, "D"), (2, 1, "A"), (3, 1, "C"), (3, 1, "E"), (4, 1, "E"),
                            (4, 1, "B"), (5, 1, "F")]  # fmt: skip
    for step, root in killed_repairs(tmp_path / "d", monkeypatch):
        assert len(repair(root).kept) == 5, step
        assert check(root).problems == [] and stretches(root) == expected, step
    assert step > 10


def test_refused_while_a_writer_is_at_work(root: Path, contract: Contract) -> None:
    with DatasetWriter.open(root, contract), pytest.raises(DatasetLockedError):
        repair(root)


def test_foreign_dataset_is_refused(root: Path) -> None:
    (root / "meta/robot_learning.json").unlink()
    with pytest.raises(DatasetError, match="Only datasets recorded by this package"):
        repair(root)
