"""Cloning from the command line, with the real playroom and a dataset of four frames."""

import json
from pathlib import Path

import gymnasium
import numpy as np
import pytest

import robot_learning.envs  # noqa: F401  registers the environments
from robot_learning.commands.main import main
from robot_learning.data import DatasetWriter
from robot_learning.policies import read_checkpoint


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli")
    env = gymnasium.make("robot_learning/Playroom-v0", task="open_drawer")
    observation, _ = env.reset(seed=0)
    outcome = {
        "next.reward": np.zeros(1, np.float32),
        "next.done": np.zeros(1, bool),
        "next.success": np.zeros(1, bool),
    }
    with DatasetWriter.create(folder / "data", env.unwrapped.contract) as writer:  # type: ignore[attr-defined]
        for _ in range(4):
            writer.add_frame({**observation, "action": np.zeros(5, np.float32), **outcome}, task="open the drawer")
        writer.save_episode(success=True)
    env.close()
    flags = ["--dataset", str(folder / "data"), "--run", str(folder / "run"), "--steps", "3", "--inputs", "state"]
    assert main(["train", "bc", *flags]) == 0
    return folder / "run" / "checkpoints" / "last"


def test_train_again_without_resume_is_misuse(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = checkpoint.parents[1]
    assert main(["train", "bc", "--dataset", "elsewhere", "--run", str(run)]) == 2
    assert "--resume" in capsys.readouterr().err


def test_resume_of_a_finished_run_is_fine(checkpoint: Path) -> None:
    assert main(["train", "bc", "--run", str(checkpoint.parents[1]), "--resume"]) == 0


def test_evaluate_prints_json_and_records_it(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--episodes", "1", "--processes", "0", "--json", "--record"]
    assert main(["evaluate", str(checkpoint), "--task", "open_drawer", *flags]) == 0
    assert json.loads(capsys.readouterr().out)["tasks"]["open_drawer"]["episodes"] == 1
    assert read_checkpoint(checkpoint).success[0].startswith("open_drawer: 0 of 1")


def test_evaluate_of_a_task_it_never_learnt_lists_the_known(
    checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", str(checkpoint), "--task", "close_drawer", "--episodes", "1", "--processes", "0"]) == 2
    assert "open the drawer" in capsys.readouterr().err
