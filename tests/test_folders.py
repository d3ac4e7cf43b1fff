"""Folders that are replaced as a whole."""

import os
from pathlib import Path

import pytest

from robot_learning import folders
from robot_learning.folders import LAST, checkpoint_at, recovered, write_folder

OLD, NEW = {"a": b"old", "b": b"old"}, {"a": b"new"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_folder(tmp_path / "model", OLD)
    return tmp_path / "model"


def content(path: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in recovered(path).iterdir()}


def test_the_new_files_take_the_place_of_all_old_ones(folder: Path) -> None:
    write_folder(folder, NEW)
    assert content(folder) == NEW and [path.name for path in folder.parent.iterdir()] == ["model"]


@pytest.mark.parametrize(("call", "which"), [("fsync", 1), ("rename", 1), ("rename", 2)])
def test_a_writer_that_dies_leaves_the_old_files(
    folder: Path, monkeypatch: pytest.MonkeyPatch, call: str, which: int
) -> None:
    real, calls = getattr(os, call), []

    def dies(*given: object) -> object:
        calls.append(given)
        if len(calls) == which:
            raise OSError("power cut")
        return real(*given)

    monkeypatch.setattr(folders.os, call, dies)
    with pytest.raises(OSError, match="power cut"):
        write_folder(folder, NEW)
    assert content(folder) == OLD


def test_after_a_death_the_next_writer_succeeds(folder: Path) -> None:
    folder.rename(folder.with_name(".model.previous"))
    write_folder(folder, NEW)
    assert content(folder) == NEW and [path.name for path in folder.parent.iterdir()] == ["model"]


def test_a_run_stands_for_its_last_checkpoint_also_where_that_is_being_replaced(tmp_path: Path) -> None:
    run, last = tmp_path / "run", tmp_path / "run" / LAST
    assert checkpoint_at(run) == run
    write_folder(last, OLD)
    assert checkpoint_at(run) == last and checkpoint_at(last) == last
    last.rename(last.with_name(".last.previous"))  # its writer died between the two renames
    assert checkpoint_at(run) == last and content(checkpoint_at(run)) == OLD
