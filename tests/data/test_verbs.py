"""The dataset verbs as a user types them, with their exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from robot_learning.commands.main import main
from robot_learning.contract import Contract
from robot_learning.data import Dataset, DatasetWriter

from .recordings import make_episode
from .test_dataset import damage

VIDEO = "videos/observation.images.front/chunk-000/file-001.mp4"


def robot_learning(*words: object) -> int:
    """The exit code of `robot-learning dataset WORDS`."""
    return main(["dataset", *map(str, words)])


def test_info(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert robot_learning("info", root) == 0
    assert "3 episodes, 24 frames at 10 Hz" in capsys.readouterr().out
    assert robot_learning("info", root, "--json") == 0
    overview = json.loads(capsys.readouterr().out)
    assert overview["tasks"]["open the drawer"] == {"episodes": 2, "successes": 2, "frames": 19}


def test_brackets_in_tasks_and_paths_are_text(
    tmp_path: Path, contract: Contract, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "[/bold] monday"
    with DatasetWriter.create(root, contract) as writer:
        writer.add_episode(make_episode(contract, 3, task="say [/x] [red] now"))
    assert robot_learning("info", root) == 0
    printed = capsys.readouterr().out
    assert "say [/x] [red] now" in printed
    assert "[/bold]monday" in "".join(printed.split())  # a line may break at any space
    damage(root / "data/chunk-000/file-000.parquet", 300)
    assert robot_learning("check", root) == 1


def test_check_then_repair_then_check(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert robot_learning("check", root) == 0
    damage(root / VIDEO, 1500)
    assert robot_learning("check", root) == 1
    assert VIDEO in capsys.readouterr().out
    assert robot_learning("repair", root) == 0
    assert "kept 2 episodes: episode 2 is now 1" in capsys.readouterr().out
    assert robot_learning("check", root) == 0


def test_view(root: Path) -> None:
    assert robot_learning("view", root, "--height", 32, "--columns", 3) == 0
    assert (root.with_name("dataset_view") / "index.html").is_file()


def test_merge(root: Path, tmp_path: Path) -> None:
    assert robot_learning("merge", root, root, "--output", tmp_path / "twice") == 0
    assert Dataset(tmp_path / "twice").num_episodes == 6


def test_mistake_is_told_without_a_traceback(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert robot_learning("info", tmp_path / "nowhere") == 2
    printed = capsys.readouterr().err
    assert "found no meta/info.json" in printed and "Traceback" not in printed


def test_wrong_image_pair(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("import-robomimic", tmp_path / "a.hdf5", "--output", tmp_path / "b", "--task", "lift", "--images", "front")
    assert robot_learning(*words) == 2
    assert "expected key=name" in capsys.readouterr().err
