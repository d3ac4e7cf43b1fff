"""`robot-learning collect` with the real playroom."""

from pathlib import Path

import pytest

from robot_learning.commands.main import main
from robot_learning.data import Dataset


def test_play_with_some_tasks(tmp_path: Path) -> None:
    flags = ["--minutes", "0.1", "--play-with", "rotate_left", "rotate_right", "--cameras"]
    assert main(["collect", "play", "--dataset", str(tmp_path / "play"), *flags]) == 0
    assert set(Dataset(tmp_path / "play").tasks) <= {"turn the block to the left", "turn the block to the right"}


def test_there_and_back(tmp_path: Path) -> None:
    flags = ["--tasks", "close_sliding", "open_sliding", "--episodes", "1", "--there-and-back", "--cameras"]
    assert main(["collect", "demonstrations", "--dataset", str(tmp_path / "doors"), *flags]) == 0
    assert Dataset(tmp_path / "doors").episode_tasks == ["close the sliding door", "open the sliding door"]


@pytest.mark.parametrize("flags", [["--tasks", "open_drawer"], ["--failures", "2"]])
def test_there_and_back_takes_two_tasks_and_no_failures(
    tmp_path: Path, flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["collect", "demonstrations", "--dataset", str(tmp_path / "doors"), "--there-and-back", *flags]) == 2
    assert "expected two tasks and no --failures" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "doors").exists()
