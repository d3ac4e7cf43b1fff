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


def test_resume_names_the_flags_that_are_not_in_force(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = checkpoint.parents[1]
    flags = ["--steps=1200", "--no-only-success", "--seed", "0", "--learning-rate", "0.5"]
    assert main(["train", "bc", "--run", str(run), "--resume", *flags]) == 0
    lines = capsys.readouterr().err.splitlines()
    told = [line for line in lines if line.startswith("Not in force")]
    assert len(told) == 1 and "Trained 3 steps" in " ".join(lines)
    for flag, given, own in (("steps", "1200", "3"), ("only-success", "False", "True"), ("learning-rate", "0.5", "")):
        assert f"given {flag} {given}, the run goes on with its own {own}" in told[0]
    assert "seed" not in told[0] and "given run" not in told[0]


@pytest.mark.parametrize("algorithm", ["bc", "cal_ql", "self_imitation"])
def test_resume_without_a_run_names_the_folder(
    algorithm: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    absent, empty = tmp_path / "absent", tmp_path / "empty"
    empty.mkdir()
    for run, found in ((absent, "no such folder"), (empty, "no config.yaml in it")):
        assert main(["train", algorithm, "--dataset", "data", "--run", str(run), "--resume"]) == 2
        told = capsys.readouterr().err
        assert f"found {found}: {run}" in told and "--resume" in told
    assert not absent.exists()


def test_resume_with_another_algorithm_names_that_of_the_run(
    checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = checkpoint.parents[1]
    assert main(["train", "iql", "--run", str(run), "--resume"]) == 2
    told = capsys.readouterr().err
    assert f"robot-learning train bc --run {run} --resume" in told and "iql" in told


@pytest.mark.parametrize("resume", [(), ("--resume",)])
def test_finetune_goes_on_in_another_folder(
    checkpoint: Path, resume: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    run = str(checkpoint.parents[1])
    assert main(["finetune", run, "--run", run, "--steps", "5", *resume]) == 2
    assert "--run: expected another folder than that of the run to go on from" in capsys.readouterr().err


def test_finetune_of_practice_by_self_imitation_says_how_to_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.yaml").write_text("algorithm: self_imitation\n")
    assert main(["finetune", str(tmp_path), "--run", str(tmp_path / "new")]) == 2
    told = capsys.readouterr().err
    assert "found one of self_imitation" in told and "rlpd" in told


def test_finetune_resumes_only_what_was_begun(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["finetune", str(checkpoint), "--run", str(tmp_path / "absent"), "--resume"]) == 2
    assert f"no such folder: {tmp_path / 'absent'}" in capsys.readouterr().err


def test_evaluate_prints_json_and_records_it(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--episodes", "1", "--processes", "0", "--json", "--record"]
    assert main(["evaluate", str(checkpoint), "--task", "open_drawer", *flags]) == 0
    assert json.loads(capsys.readouterr().out)["tasks"]["open_drawer"]["episodes"] == 1
    assert read_checkpoint(checkpoint).success[0].startswith("open_drawer: 0 of 1")


def test_evaluate_of_no_task_is_refused(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(checkpoint), "--task"]) == 2
    assert "--task: expected at least one task" in capsys.readouterr().err


def test_evaluate_takes_the_last_checkpoint_of_a_run(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, flags = checkpoint.parents[1], ["--task", "open_drawer", "--episodes", "1", "--processes", "0", "--json"]
    assert main(["evaluate", str(run), *flags]) == 0
    told = capsys.readouterr()
    assert str(checkpoint) in told.err and json.loads(told.out)["episodes"] == 1


def test_evaluate_of_a_file_says_that_it_is_one(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--task", "open_drawer", "--episodes", "1", "--processes", "0"]
    assert main(["evaluate", str(checkpoint / "config.json"), *flags]) == 2
    told = capsys.readouterr().err
    assert "found a file" in told and "does not exist" not in told


def test_evaluate_of_a_task_it_never_learnt_lists_the_known(
    checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", str(checkpoint), "--task", "close_drawer", "--episodes", "1", "--processes", "0"]) == 2
    assert "open the drawer" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "flag", "least", "found"),
    [
        ("evaluate {0} --task open_drawer --episodes 0", "--episodes", 1, 0),
        ("evaluate {0} --task open_drawer --episodes -1", "--episodes", 1, -1),
        ("evaluate {0} --task open_drawer --processes -1", "--processes", 0, -1),
        ("evaluate {0} --task open_drawer --seed -1", "--seed", 0, -1),
        ("evaluate {0} --task open_drawer --furniture -3", "--furniture", 0, -3),
        ("train bc --dataset {0} --run {1} --steps 0", "--steps", 1, 0),
        ("train cal_ql --dataset {0} --run {1} --offline-steps -5", "--offline-steps", 0, -5),
        ("train self_imitation --dataset {0} --run {1} --online-steps -5", "--online-steps", 0, -5),
        ("finetune {0} --run {1} --steps 0", "--steps", 1, 0),
        ("collect demonstrations --dataset {1} --episodes -3", "--episodes", 1, -3),
        ("collect demonstrations --dataset {1} --episodes -3 --failures 2", "--episodes", 0, -3),
        ("collect demonstrations --dataset {1} --failures -2", "--failures", 0, -2),
    ],
)
def test_numbers_that_make_no_sense_are_refused(
    words: str, flag: str, least: int, found: float,
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    assert main(words.format(checkpoint, tmp_path / "new").split()) == 2
    assert f"{flag}: expected {least} or more, found {found}" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("algorithm", "given", "told"),
    [
        ("bc", "--seed -1", "seed: expected 0 or more, found -1"),
        ("bc", "--threads 0", "threads: expected 1 or more, found 0"),
        ("bc", "--log-every 0", "log_every: expected 1 or more, found 0"),
        ("bc", "--time-limit 0", "time_limit: expected more than 0, found 0.0"),
        ("bc", "--held-out -1", "held_out: expected 0 or more, found -1"),
        ("bc", "--evaluate-every 10", "evaluate_tasks: expected at least one, found none"),
        ("bc", "--head l2", "unknown head 'l2'; valid: ['l1', 'mixture', 'flow']"),
        ("cal_ql", "--seed -1", "seed: expected 0 or more, found -1"),
        ("cal_ql", "--log-every 0", "log_every: expected 1 or more, found 0"),
        ("cal_ql", "--online-share 2", "online_share: expected 0 to 1, found 2.0"),
        ("cal_ql", "--evaluate-processes -1", "evaluate_processes: expected 0 or more, found -1"),
        ("cal_ql", "--tasks", "tasks: expected at least one, found none"),
        ("cal_ql", "--backup best", "unknown backup 'best'; valid: ['sample', 'mode', 'max']"),
        ("iql", "--inputs sound", "unknown inputs 'sound'; valid: ['images', 'state']"),
        ("rlpd", "--actor-every 0", "actor_every: expected 1 or more, found 0"),
        ("self_imitation", "--round-steps 0", "round_steps: expected 1 or more, found 0"),
    ],
)
def test_settings_that_make_no_sense_are_refused_before_anything_is_read(
    algorithm: str, given: str, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = f"train {algorithm} --dataset nowhere --run {tmp_path / 'new'} {given}"
    assert main(words.split()) == 2
    assert told in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_play_of_no_length_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(f"collect play --dataset {tmp_path / 'new'} --minutes 0".split()) == 2
    assert "--minutes: expected more than 0, found 0" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
