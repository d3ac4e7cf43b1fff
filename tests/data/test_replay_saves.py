"""Saving a replay buffer that is refused or killed: what is on the disk stays of one piece."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from robot_learning.data import files
from robot_learning.data.observations import ReplayError
from robot_learning.data.replay import ReplayBuffer

from .kills import killed_at_rename
from .replay_reference import action_of, frame, frames, make_buffer
from .test_replay_files import assert_equal, save_run


@pytest.mark.parametrize(("source", "task"), [("demonstrations", ""), ("online", "close the drawer")])
def test_a_refused_second_process_has_written_nothing(tmp_path: Path, source: str, task: str) -> None:
    save_run(tmp_path / "replay", 20)
    first, second = (ReplayBuffer.load(tmp_path / "replay") for _ in range(2))
    first._capacity = second._capacity = 100
    episode = np.ones((4, 3), np.float32)
    first.add_episode("play", episode, np.zeros((3, 2)), np.ones(3), True, task="open the drawer")
    first.save(tmp_path / "replay")
    before = {path.name: path.read_bytes() for path in (tmp_path / "replay").iterdir()}
    second.add_episode(source, episode, np.zeros((3, 2)), np.ones(3), True, task=task)
    with pytest.raises(ReplayError, match="another process has saved"):
        second.save(tmp_path / "replay")
    assert {path.name: path.read_bytes() for path in (tmp_path / "replay").iterdir()} == before
    assert_equal(ReplayBuffer.load(tmp_path / "replay"), first)


def with_rules(gamma: float | None = None) -> ReplayBuffer:
    """Ended and running episodes in two sources, under new rules when `gamma` is given."""
    buffer = make_buffer(capacity=30, lowest_reward=0.0)
    for source in ("a", "b"):
        buffer.add_episode(source, frames(0, 6), np.array([action_of(n) for n in range(5)]), np.ones(5), True)
        for n in range(10, 13):
            buffer.add_step(source, 0, frame(n), action_of(n), 1.0, frame(n + 1), False, False)
    if gamma is not None:
        buffer.set_rules(gamma=gamma)
    return buffer


def test_returns_and_rules_agree_after_a_kill_at_any_rename(tmp_path: Path) -> None:
    killed, gammas = [0], list[float]()
    old = with_rules().rules.gamma
    while killed:
        folder, buffer = tmp_path / str(len(gammas)), with_rules()
        buffer.save(folder)
        buffer.set_rules(gamma=0.5)
        with killed_at_rename(len(gammas) + 1) as killed:
            buffer.save(folder)
        loaded = ReplayBuffer.load(folder)
        assert_equal(loaded, with_rules(None if loaded.rules.gamma == old else 0.5))
        loaded.save(folder)
        again = ReplayBuffer.load(folder)
        assert_equal(again, loaded)
        assert "stale_returns" not in json.loads((folder / "manifest.json").read_text())
        gammas.append(loaded.rules.gamma)
    assert gammas == [old, 0.5, 0.5, 0.5, 0.5]  # the last was not killed


def test_a_save_that_the_disk_refused_is_made_up_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sync, refused = files.fsync_directory, 0
    for step in range(1, 8):
        buffer, count = with_rules(), [0]
        buffer.save(tmp_path / str(step))
        buffer.set_rules(gamma=0.5)

        def refuse(folder: Path, count: list[int] = count, step: int = step) -> None:
            count[0] += 1
            if count[0] == step:
                raise OSError(28, "No space left on device")
            sync(folder)

        monkeypatch.setattr(files, "fsync_directory", refuse)
        try:
            buffer.save(tmp_path / str(step))
        except OSError:
            refused += 1
        monkeypatch.setattr(files, "fsync_directory", sync)
        buffer.save(tmp_path / str(step))
        assert_equal(ReplayBuffer.load(tmp_path / str(step)), with_rules(0.5))
    assert refused == 4


def test_a_damaged_manifest_is_no_matter_for_dataset_repair(tmp_path: Path) -> None:
    save_run(tmp_path / "replay", 20)
    (tmp_path / "replay" / "manifest.json").write_text("{")
    with pytest.raises(ReplayError, match=r"manifest.json: expected a JSON file") as caught:
        ReplayBuffer.load(tmp_path / "replay")
    assert "dataset repair" not in str(caught.value) and "restore manifest.json" in str(caught.value)
