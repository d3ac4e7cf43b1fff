"""Damaged metadata, disks that refuse and episodes that do not fit: told in words, and nothing half-done is left."""

from __future__ import annotations

import dataclasses
import fcntl
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from robot_learning.contract import Contract
from robot_learning.data import (
    DamagedDatasetError,
    Dataset,
    DatasetError,
    DatasetLockedError,
    DatasetWriteError,
    DatasetWriter,
    Episode,
    FrameError,
    tables,
)
from robot_learning.data.check import check
from robot_learning.data.merge import merge_datasets
from robot_learning.data.repair import repair
from robot_learning.data.view import view

from .recordings import make_episode
from .test_check import edit_json


def test_lost_tasks_are_told_when_opening(root: Path, contract: Contract) -> None:
    (root / "meta/tasks.parquet").unlink()
    with pytest.raises(DamagedDatasetError, match=r"tasks\.parquet: expected a parquet file, found no such file"):
        DatasetWriter.open(root, contract)
    repair(root)
    DatasetWriter.open(root, contract).close()


def test_tasks_that_lack_one_of_the_rows_are_told(root: Path, contract: Contract) -> None:
    tables.write_tasks(root, ["open the drawer"])
    with pytest.raises(DamagedDatasetError, match=r"expected the tasks .'close the drawer'. of the episode rows"):
        DatasetWriter.open(root, contract)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda info: info["features"]["action"].pop("shape"), "action: dtype and shape"),
        (lambda info: info["features"].update(action=3), "action: dtype and shape"),
        (lambda info: info.update(features=None), "features by name"),
        (lambda info: info.update(total_episodes=None), "total_episodes"),
        (lambda info: info.pop("total_frames"), "total_frames"),
        (lambda info: info.update(fps=0), "fps"),
    ],
)
def test_damaged_info_is_told_and_mended(
    root: Path, contract: Contract, change: Callable[[dict[str, Any]], object], match: str
) -> None:
    edit_json(root / "meta/info.json", change)
    for use in (Dataset, lambda root: DatasetWriter.open(root, contract)):
        with pytest.raises(DamagedDatasetError, match=rf"info\.json: expected .*{match}"):
            use(root)
    assert match in str(check(root).problems[0])
    repair(root)
    assert check(root).problems == [] and Dataset(root).num_episodes == 3


@pytest.mark.parametrize("entry", [{}, 3, {"min": [0.0], "max": [1.0], "mean": [0.5], "std": [0.1], "count": []}])
def test_damaged_statistics_are_told_and_mended(root: Path, contract: Contract, entry: object) -> None:
    edit_json(root / "meta/stats.json", lambda stats: stats.update(index=entry))
    for use in (lambda root: Dataset(root).stats, lambda root: DatasetWriter.open(root, contract)):
        with pytest.raises(DamagedDatasetError, match=r"stats\.json: expected index: min, max, mean, std and count"):
            use(root)
    assert "index: min, max" in str(check(root).problems[0])
    repair(root)
    assert check(root).problems == [] and Dataset(root).stats["index"].count == 24


@pytest.mark.parametrize("video", [{"quality": 3}, 7])
def test_an_encoding_that_is_not_known_is_told_with_what_may_be_said(
    root: Path, contract: Contract, video: object
) -> None:
    edit_json(root / "meta/robot_learning.json", lambda ours: ours.update(video=video))
    match = r"robot_learning\.json: video: expected some of \['codec', 'crf'.*found .*by hand"
    with pytest.raises(DatasetError, match=match):
        DatasetWriter.open(root, contract)
    with pytest.raises(DatasetError, match=match):
        merge_datasets([root, root], root.with_name("both"))
    assert not root.with_name("both").exists() and Dataset(root).num_episodes == 3


def refuse(*_: Any, **__: Any) -> None:
    raise OSError(30, "Read-only file system")


def test_read_only_dataset(root: Path, contract: Contract, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "open", refuse)
    for use in (repair, lambda root: DatasetWriter.open(root, contract)):
        with pytest.raises(DatasetWriteError, match=r"dataset: expected a folder that can be written to.*Read-only"):
            use(root)


def test_read_only_output(root: Path, contract: Contract, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "mkdir", refuse)
    output = root.with_name("output")
    for use in (
        lambda: view(Dataset(root), output),
        lambda: merge_datasets([root], output),
        lambda: DatasetWriter.create(output, contract),
    ):
        with pytest.raises(DatasetWriteError, match=r"output: expected a folder that can be written to.*Read-only"):
            use()


def test_read_only_file_in_a_dataset(root: Path, contract: Contract, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "data/chunk-000/file-003.parquet").write_bytes(b"part")
    monkeypatch.setattr(os, "replace", refuse)
    monkeypatch.setattr(Path, "unlink", refuse)
    for use in (repair, lambda root: DatasetWriter.open(root, contract)):
        with pytest.raises(DatasetWriteError, match=r"dataset: expected a folder that can be written to.*Read-only"):
            use(root)


def test_a_file_system_without_locks_is_told_as_such(
    root: Path, contract: Contract, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(*_: Any) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with pytest.raises(DatasetWriteError, match=r"expected a lock.*No locks available"):
        DatasetWriter.open(root, contract)


def forked(action: Callable[[], object]) -> int:
    """A child that inherits what is open, does something, tells so, and sleeps."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        action()
        os.write(write, b"!")
        signal.pause()
    os.read(read, 1)
    return child


def test_a_forked_child_does_not_keep_the_lock(root: Path, contract: Contract) -> None:
    writer = DatasetWriter.open(root, contract)
    child = forked(lambda: None)
    try:
        writer.close()
        DatasetWriter.open(root, contract).close()
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_a_forked_child_does_not_give_the_lock_away(root: Path, contract: Contract) -> None:
    writer = DatasetWriter.open(root, contract)
    child = forked(writer.close)
    try:
        with pytest.raises(DatasetLockedError):
            DatasetWriter.open(root, contract)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        writer.close()


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda e: Episode(e.task, e.frames | {"action": e.frames["action"][:2]}), "arrays of one length.*'action': 2"),
        (lambda e: Episode(e.task, {}), "arrays of one length, at least 1, found none"),
        (lambda e: Episode(e.task, {key: v[:0] for key, v in e.frames.items()}), "at least 1, found .*'action': 0"),
        (lambda e: Episode(e.task, e.frames | {"action": np.float32(1)}), "arrays of one length.*'action': 0"),
        (lambda e: dataclasses.replace(e, task="caf\udce9"), "task: expected text that UTF-8 can hold"),
        (lambda e: dataclasses.replace(e, info={"operator": "\udce9"}), "info: expected JSON"),
    ],
)
def test_an_episode_that_does_not_fit_leaves_nothing(
    root: Path, contract: Contract, change: Callable[[Episode], Episode], match: str
) -> None:
    with DatasetWriter.open(root, contract) as writer:
        with pytest.raises(DatasetError, match=match):
            writer.add_episode(change(make_episode(contract, 4)))
        assert writer.episode_length == 0 and not (root / ".recording").exists()
        assert writer.add_episode(make_episode(contract, 4)) == 3
    assert (check(root).problems, check(root).notes) == ([], [])


def test_an_interrupted_episode_leaves_nothing(root: Path, contract: Contract, monkeypatch: pytest.MonkeyPatch) -> None:
    with DatasetWriter.open(root, contract) as writer:
        take = writer.add_frame

        def interrupt(frame: dict[str, np.ndarray], task: str) -> None:
            take(frame, task)
            if writer.episode_length == 3:
                raise KeyboardInterrupt

        monkeypatch.setattr(writer, "add_frame", interrupt)
        with pytest.raises(KeyboardInterrupt):
            writer.add_episode(make_episode(contract, 4))
        assert writer.episode_length == 0


def test_a_task_that_is_no_text_is_refused_and_the_episode_goes_on(root: Path, contract: Contract) -> None:
    frames = {key: values[0] for key, values in make_episode(contract, 1).frames.items()}
    with DatasetWriter.open(root, contract) as writer:
        writer.add_frame(frames, "open the drawer")
        with pytest.raises(FrameError, match="UTF-8"):
            writer.add_frame(frames, "caf\udce9")
        assert writer.save_episode(True) == 3
    assert json.loads((root / "meta/info.json").read_text())["total_frames"] == 25
