"""A writer killed with SIGKILL at every step of a commit loses nothing that was committed."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from robot_learning.contract import Contract
from robot_learning.data import Dataset, DatasetWriteError, DatasetWriter
from robot_learning.data.check import check
from robot_learning.data.metadata import Metadata

from .recordings import make_episode

# Two videos, the data file, the tasks, the episode rows, info.json, stats.json.
STEPS = 7
ROWS_STEP = 5


def run_and_kill(action: Callable[[], object]) -> None:
    """Run `action` in a child process that must die of SIGKILL in it."""
    child = os.fork()
    if child == 0:
        try:
            action()
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


def kill_at(step: int, before: bool) -> None:
    """Make this process kill itself at its `step`-th rename, just before or just after it."""
    rename, count = os.replace, [0]

    def replace(source: Path, target: Path) -> None:
        count[0] += 1
        if count[0] == step and before:
            os.kill(os.getpid(), signal.SIGKILL)
        rename(source, target)
        if count[0] == step:
            os.kill(os.getpid(), signal.SIGKILL)

    os.replace = replace  # type: ignore[assignment]


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("step", range(1, STEPS + 1))
def test_kill_at_each_rename(root: Path, contract: Contract, step: int, before: bool) -> None:
    third = make_episode(contract, 6, seed=7, task="push the red button")

    def record() -> None:
        writer = DatasetWriter.open(root, contract)
        kill_at(step, before)
        writer.add_episode(third)

    expected = Dataset(root).column("action").copy()
    run_and_kill(record)

    seen = Dataset(root)  # a reader, before any writer mends it
    assert seen.num_episodes in (3, 4)
    np.testing.assert_array_equal(seen.column("action")[:24], expected)
    assert len(seen.images("observation.images.front", np.arange(len(seen)))) == len(seen)

    kept = step > ROWS_STEP or (step == ROWS_STEP and not before)
    with DatasetWriter.open(root, contract) as writer:
        assert writer.num_episodes == 3 + kept
        writer.add_episode(make_episode(contract, 4, seed=9, task="turn the lamp on"))
    report = check(root)
    assert (report.problems, report.notes, report.episodes) == ([], [], 4 + kept)
    assert Dataset(root).episode_tasks[-1] == "turn the lamp on"


@pytest.mark.parametrize("step", [1, 2])
def test_kill_while_creating(tmp_path: Path, contract: Contract, step: int) -> None:
    def create() -> None:
        kill_at(step, before=True)
        DatasetWriter.create(tmp_path / "new", contract)

    run_and_kill(create)
    with DatasetWriter.open_or_create(tmp_path / "new", contract) as writer:
        writer.add_episode(make_episode(contract, 3))
    assert not check(tmp_path / "new").problems


def test_kill_while_recording(root: Path, contract: Contract) -> None:
    def record() -> None:
        writer = DatasetWriter.open(root, contract)
        episode = make_episode(contract, 20)
        for t in range(20):
            writer.add_frame({key: values[t] for key, values in episode.frames.items()}, "open the drawer")
        os.kill(os.getpid(), signal.SIGKILL)

    run_and_kill(record)
    assert Dataset(root).num_episodes == 3
    DatasetWriter.open(root, contract).close()
    assert not (root / ".recording").exists()
    assert check(root).notes == []


def test_resumed_recording_equals_uninterrupted(tmp_path: Path, contract: Contract) -> None:
    episodes = [make_episode(contract, 5 + i, seed=i) for i in range(4)]
    with DatasetWriter.create(tmp_path / "once", contract) as writer:
        for episode in episodes:
            writer.add_episode(episode)
    for episode in episodes:
        with DatasetWriter.open_or_create(tmp_path / "often", contract) as writer:
            writer.add_episode(episode)
    files = [p.relative_to(tmp_path / "once") for p in (tmp_path / "once").rglob("*") if p.suffix in (".json", ".mp4")]
    assert len(files) == 11
    for name in files:
        assert (tmp_path / "once" / name).read_bytes() == (tmp_path / "often" / name).read_bytes(), name


def test_rows_roll_over_to_a_second_file(tmp_path: Path, contract: Contract, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("robot_learning.data.commit.ROWS_PER_FILE", 2)
    with DatasetWriter.create(tmp_path / "d", contract) as writer:
        for seed in range(3):
            writer.add_episode(make_episode(contract, 3, seed))
    with DatasetWriter.open(tmp_path / "d", contract) as writer:
        for seed in range(2):
            writer.add_episode(make_episode(contract, 3, seed))
    assert len(list((tmp_path / "d/meta/episodes/chunk-000").glob("*.parquet"))) == 3
    assert not check(tmp_path / "d").problems


def test_statistics_survive_a_refused_write(root: Path, contract: Contract, monkeypatch: pytest.MonkeyPatch) -> None:
    save_info = Metadata.save_info

    def refuse(self: Metadata, tasks: int) -> None:
        raise OSError(28, "No space left on device")

    with DatasetWriter.open(root, contract) as writer:
        monkeypatch.setattr(Metadata, "save_info", refuse)
        with pytest.raises(DatasetWriteError, match="episode 3 is on the disk"):
            writer.add_episode(make_episode(contract, 6, seed=7))
        monkeypatch.setattr(Metadata, "save_info", save_info)
        assert writer.add_episode(make_episode(contract, 4, seed=9)) == 4
    assert check(root).problems == [] and Dataset(root).stats["index"].count == 34
