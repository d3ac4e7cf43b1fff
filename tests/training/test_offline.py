import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from robot_learning.algorithms.cloning_config import BehaviourCloningConfig
from robot_learning.policies import load_policy, read_checkpoint, save_checkpoint
from robot_learning.training import offline
from robot_learning.training.config import TrainConfig, read_config, write_config
from robot_learning.training.evaluation import evaluate
from robot_learning.training.metrics import read_metrics
from robot_learning.training.offline import DivergedError, train
from robot_learning.training.run_state import RunError, load_state

from . import point_world
from .conftest import SMALL

POINT = BehaviourCloningConfig(
    horizon=4, channels=(16, 16), kernels=(5, 3), strides=(2, 1), hidden=(64,), batch_size=32
)


def weights(run: str | Path) -> dict[str, torch.Tensor]:
    return load_file(Path(run) / "checkpoints" / "last" / "weights.safetensors")


def same_weights(one: str, other: str) -> bool:
    expected, found = weights(one), weights(other)
    return all(torch.equal(expected[key], found[key]) for key in expected)


def stop_at(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Press Ctrl-C while the given step is computed."""
    real = offline.BehaviourCloning.update

    def update(self: offline.BehaviourCloning, number: int, batch: object) -> dict[str, float]:
        if number == step:
            os.kill(os.getpid(), signal.SIGINT)
        return real(self, number, batch)  # type: ignore[arg-type]

    monkeypatch.setattr(offline.BehaviourCloning, "update", update)


def test_training_lowers_the_loss(config: TrainConfig) -> None:
    train(dataclasses.replace(config, steps=60))
    losses = [row["train/loss"] for row in read_metrics(Path(config.run))]
    assert losses[-1] < 0.9 * losses[0]


def test_a_cloned_policy_solves_both_tasks_on_fresh_seeds(tmp_path: Path, config: TrainConfig) -> None:
    data = point_world.collect(tmp_path / "data", episodes=20)
    train(dataclasses.replace(config, dataset=str(data), steps=600, bc=POINT))
    path = Path(config.run) / "checkpoints" / "last"
    result = evaluate(path, ["reach", "flee"], episodes=10, seed=1000, processes=0, make_env=point_world.make_env)
    assert result.successes >= 16, result.lines()


def test_an_interrupted_run_resumes_to_the_very_same_weights(
    config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = dataclasses.replace(config, run=str(tmp_path / "straight"))
    train(straight)
    with monkeypatch.context() as patch:
        stop_at(patch, 12)
        assert train(config).finished is False
    assert train(config, resume=True).finished
    assert same_weights(straight.run, config.run)


def test_an_interrupted_run_logs_the_very_same_curve(
    config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = dataclasses.replace(config, run=str(tmp_path / "straight"))
    train(straight)
    with monkeypatch.context() as patch:
        stop_at(patch, 12)
        train(config)
    train(config, resume=True)

    def curve(run: str) -> list[tuple[int, float]]:
        return [(row["step"], row["train/loss"]) for row in read_metrics(Path(run))]

    assert curve(config.run) == curve(straight.run)


def test_ctrl_c_finishes_the_step_and_saves(config: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    stop_at(monkeypatch, 7)
    assert train(config).step == 8
    saved = load_state(Path(config.run))
    assert saved is not None
    assert saved[1]["step"] == 8


def test_two_runs_with_one_seed_are_equal(config: TrainConfig, tmp_path: Path) -> None:
    other = dataclasses.replace(config, run=str(tmp_path / "other"))
    train(config)
    train(other)
    assert all(torch.equal(value, weights(other.run)[key]) for key, value in weights(config.run).items())


def test_another_seed_gives_other_weights(config: TrainConfig, tmp_path: Path) -> None:
    other = dataclasses.replace(config, run=str(tmp_path / "other"), seed=1)
    train(config)
    train(other)
    assert not all(torch.equal(value, weights(other.run)[key]) for key, value in weights(config.run).items())


@pytest.mark.timeout(120)
def test_a_killed_run_can_go_on(config: TrainConfig) -> None:
    run = Path(config.run)
    run.mkdir()
    write_config(run, dataclasses.replace(config, save_every=0.0, steps=100_000))
    code = "import sys; from robot_learning.training.offline import *; "
    code += "train(read_config(Path(sys.argv[1])), resume=True)"
    said = run.parent / "stderr.txt"
    with said.open("wb") as stderr:
        process = subprocess.Popen([sys.executable, "-c", code, str(run)], stderr=stderr)
    # Against a hang only: importing torch alone can take long on busy cores.
    watchdog = threading.Timer(240, process.kill)
    watchdog.start()
    while load_state(run) is None and process.poll() is None:
        pass
    process.kill()
    process.wait()
    watchdog.cancel()
    assert load_state(run) is not None, said.read_text()
    assert load_policy(run / "checkpoints" / "last").tasks == sorted(point_world.TASKS.values())


def test_an_existing_run_is_not_overwritten(config: TrainConfig) -> None:
    train(config)
    with pytest.raises(RunError, match="--resume"):
        train(config)


def test_to_resume_what_is_finished_needs_no_data(config: TrainConfig, tmp_path: Path) -> None:
    data = shutil.copytree(config.dataset, tmp_path / "data")
    config = dataclasses.replace(config, dataset=str(data))
    done = train(config)
    shutil.rmtree(data)
    assert train(config, resume=True) == done


@pytest.mark.parametrize("change", ["other frames", "another network"])
def test_resume_of_what_has_changed_meanwhile_is_refused(
    config: TrainConfig, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    stop_at(monkeypatch, 2)
    train(config)
    if change == "other frames":
        config = dataclasses.replace(config, tasks=("go to the square",))
        told = "the data is not what the run began with: expected .* of 12 episodes of .*, found .* of 6 episodes of"
    else:
        config = dataclasses.replace(config, bc=dataclasses.replace(SMALL, hidden=(8,)))
        told = r"training_state\.safetensors: expected the state of the run .* describes"
    write_config(Path(config.run), config)
    with pytest.raises(RunError, match=told):
        train(config, resume=True)


def test_resume_takes_the_inputs_that_were_chosen(config: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    stop_at(monkeypatch, 5)
    train(config)
    last = Path(config.run) / "checkpoints" / "last"
    checkpoint = read_checkpoint(last)
    asked: list[object] = []
    real = offline.BehaviourCloning.__init__

    def remember(self: offline.BehaviourCloning, *given: object, **named: object) -> None:
        asked.append(named["selected"])
        real(self, *given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(offline.BehaviourCloning, "__init__", remember)
    train(config, resume=True)
    assert asked == [checkpoint.config["selected"]]


def test_resume_keeps_the_run_s_own_config(config: TrainConfig) -> None:
    train(config)
    train(dataclasses.replace(config, steps=1000, seed=5), resume=True)
    assert read_config(Path(config.run)) == config


def test_a_loss_that_is_not_finite_stops_and_saves_the_batch(
    config: TrainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(offline.BehaviourCloning, "learning_rate", lambda self, step: 1e30)
    with pytest.raises(DivergedError, match="step"):
        train(config)
    (saved,) = Path(config.run).glob("diverged_step_*.safetensors")
    assert load_file(saved)["action"].shape[1:] == (4, 5)


def test_checkpoints_are_kept_at_intervals(config: TrainConfig) -> None:
    train(dataclasses.replace(config, keep_every=15))
    assert {path.name for path in (Path(config.run) / "checkpoints").iterdir()} == {"last", "step_15", "step_30"}


def test_held_out_episodes_give_a_validation_loss(config: TrainConfig) -> None:
    result = train(dataclasses.replace(config, held_out=1))
    assert np.isfinite(result.metrics["validation/loss"])


def test_a_time_limit_lowers_the_steps_and_is_written_down(config: TrainConfig) -> None:
    result = train(dataclasses.replace(config, steps=100_000, time_limit=0.5))
    assert result.finished
    assert read_config(Path(config.run)).steps == result.step < 100_000


def test_evaluation_during_training_keeps_the_best(config: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    def quick(path: Path, tasks: tuple[str, ...], episodes: int, seed: int) -> object:
        return evaluate(path, tasks, episodes=episodes, seed=seed, processes=0, make_env=point_world.make_env)

    monkeypatch.setattr(offline, "evaluate", quick)
    train(dataclasses.replace(config, evaluate_every=15, evaluate_tasks=("reach",), evaluate_episodes=2))
    assert read_checkpoint(Path(config.run) / "checkpoints" / "best").success[0].startswith("reach: ")


def test_no_dataset_is_a_clear_error(config: TrainConfig) -> None:
    with pytest.raises(RunError, match="--dataset"):
        train(dataclasses.replace(config, dataset=""))


@pytest.fixture
def pretrained(config: TrainConfig, tmp_path: Path) -> Path:
    """A clone of prior data alone."""
    run = tmp_path / "pretrained"
    train(dataclasses.replace(config, dataset="", prior=(config.dataset,), run=str(run), seed=7))
    return run


def test_a_clone_goes_on_from_one_of_prior_data_alone(config: TrainConfig, pretrained: Path) -> None:
    train(
        dataclasses.replace(config, start=str(pretrained), steps=1, bc=dataclasses.replace(SMALL, learning_rate=1e-9))
    )
    before, after = weights(pretrained), weights(config.run)
    assert all(torch.allclose(before[key], after[key], atol=1e-6) for key in before)


def test_a_run_that_went_on_from_another_resumes_to_the_very_same_weights(
    config: TrainConfig, pretrained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = dataclasses.replace(config, start=str(pretrained))
    straight = dataclasses.replace(config, run=str(tmp_path / "straight"))
    train(straight)
    with monkeypatch.context() as patch:
        stop_at(patch, 12)
        train(config)
    shutil.rmtree(pretrained)  # nothing of it is needed any more
    train(config, resume=True)
    assert same_weights(straight.run, config.run)


def test_what_is_no_clone_is_nothing_to_go_on_from(config: TrainConfig, pretrained: Path) -> None:
    last = pretrained / "checkpoints" / "last"
    other = read_checkpoint(last)
    save_checkpoint(last, dataclasses.replace(other, config={**other.config, "algorithm": "cal_ql"}))
    with pytest.raises(RunError, match="expected a clone to go on from"):
        train(dataclasses.replace(config, start=str(last)))


@pytest.mark.parametrize("given", [{"tasks": ("reach",)}, {"play": ("somewhere",)}])
def test_of_prior_data_alone_nothing_is_left_out_silently(config: TrainConfig, given: dict[str, tuple[str]]) -> None:
    with pytest.raises(RunError, match="need demonstrations"):
        train(dataclasses.replace(config, dataset="", prior=(config.dataset,), **given))
