"""Runs of reinforcement learning: what they leave, that they go on exactly, and that a kill loses little."""

import dataclasses
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from robot_learning.algorithms.cal_ql import CalQLConfig
from robot_learning.algorithms.demonstrations import Demonstrations
from robot_learning.algorithms.offline_to_online import ONLINE, OfflineToOnline
from robot_learning.commands.main import main
from robot_learning.control.homing import Homes
from robot_learning.data import Dataset
from robot_learning.data.replay import ReplayBuffer
from robot_learning.policies import load_policy, read_checkpoint
from robot_learning.training import online
from robot_learning.training.collection import collect_demonstrations
from robot_learning.training.metrics import read_metrics
from robot_learning.training.online import learn
from robot_learning.training.practice_env import Autonomy
from robot_learning.training.practice_schedule import ScheduleConfig
from robot_learning.training.rl_config import RUNS, CalQLRun, RLConfig, continuing, read_rl_config
from robot_learning.training.run_state import RunError, load_state
from tests.data.kills import Killed

SETTINGS = CalQLConfig(hidden=(16, 16), n_actions=2, layer_norm=True, bc_weight=1.0, entropy_weight=0.002)
PRACTICE = 330  # steps; an episode has 150 at most, so at least two end before the last


@pytest.fixture(scope="session")
def drawers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data") / "drawers"
    collect_demonstrations(root, {"open_drawer": 0}, episodes=2, cameras=())
    return root


@pytest.fixture
def config(drawers: Path, tmp_path: Path) -> CalQLRun:
    return CalQLRun(
        run=str(tmp_path / "run"), dataset=(str(drawers),), offline_steps=20, online_steps=PRACTICE, batch_size=16,
        log_every=50, save_every=1000.0, settings=SETTINGS, evaluate_processes=0, evaluate_episodes=1,
    )  # fmt: skip


def press_ctrl_c(monkeypatch: pytest.MonkeyPatch, offline: int, practised: int) -> None:
    """Ctrl-C during the update that comes after so many offline updates and steps of practice."""
    real, pressed = OfflineToOnline._update, []

    def update(self: OfflineToOnline, mixture: object) -> dict[str, float]:
        if not pressed and (self.offline_updates, self.num_timesteps) == (offline, practised):
            pressed.append(True)
            os.kill(os.getpid(), signal.SIGINT)
        return real(self, mixture)  # type: ignore[arg-type]

    monkeypatch.setattr(OfflineToOnline, "_update", update)


def saved(run: str | Path) -> dict[str, torch.Tensor]:
    state = load_state(Path(run))
    assert state is not None
    return state[0]


def same(one: str | Path, other: str | Path) -> bool:
    first, second = saved(one), saved(other)
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


def test_a_run_leaves_policy_curves_and_experience(config: CalQLRun) -> None:
    result = learn(dataclasses.replace(config, evaluate_every=200))
    run = Path(config.run)
    assert result.finished and (result.offline_steps, result.online_steps) == (20, PRACTICE)
    assert result.success in (0.0, 1.0)
    assert {"last", "offline", "best"} <= {path.name for path in (run / "checkpoints").iterdir()}
    assert load_policy(run / "checkpoints" / "last").tasks == ["open the drawer"]
    assert "330 steps" in str(read_checkpoint(run / "checkpoints" / "last").facts["Practice"])
    rows = read_metrics(run)
    assert any("train/td_loss" in row for row in rows) and any("success/open_drawer" in row for row in rows)
    assert ReplayBuffer.load(run / "replay").size(ONLINE) == PRACTICE


@pytest.mark.parametrize("name", sorted(RUNS))
def test_every_algorithm_runs_stops_and_acts(config: CalQLRun, name: str) -> None:
    small = dataclasses.replace(RUNS[name][0]().settings, hidden=(16, 16))  # type: ignore[attr-defined]
    common = {f.name: getattr(config, f.name) for f in dataclasses.fields(RLConfig)}
    run = RUNS[name][0](**{**common, "online_steps": 20}, settings=small)  # type: ignore[call-arg]
    assert learn(run).finished
    assert load_policy(Path(run.run) / "checkpoints" / "last").tasks == ["open the drawer"]
    assert read_rl_config(Path(run.run)) == run


def test_equal_configs_lead_to_equal_weights(config: CalQLRun, tmp_path: Path) -> None:
    again = dataclasses.replace(config, run=str(tmp_path / "again"))
    learn(config)
    learn(again)
    assert same(config.run, again.run)


@pytest.mark.parametrize(("offline", "practised"), [(7, 0), (20, 40), (20, 200)])
def test_an_interrupted_run_goes_on_to_the_very_same_weights(
    config: CalQLRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, offline: int, practised: int
) -> None:
    straight = dataclasses.replace(config, run=str(tmp_path / "straight"))
    learn(straight)
    with monkeypatch.context() as patch:
        press_ctrl_c(patch, offline, practised)
        stopped = learn(config)
    assert not stopped.finished and practised <= stopped.online_steps < PRACTICE
    assert learn(config, resume=True).finished
    assert same(config.run, straight.run)


@pytest.fixture(scope="session")
def both_ways(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data") / "both_ways"
    collect_demonstrations(root, {"open_drawer": 0, "close_drawer": 5}, episodes=2, cameras=())
    return root


@pytest.fixture
def unattended(config: CalQLRun, both_ways: Path) -> CalQLRun:
    """Practice that nobody resets; an untrained policy gets nowhere, so it stirs, and is helped."""
    autonomy = Autonomy(
        reset_free=True, episode_steps=20, schedule=ScheduleConfig(retries=1, stir_after=2, ask_after=5)
    )
    tasks = ("open_drawer", "close_drawer")
    return dataclasses.replace(config, dataset=(str(both_ways),), tasks=tasks, online_steps=200, autonomy=autonomy)


def test_a_task_it_was_not_trained_on_cannot_recover(unattended: CalQLRun) -> None:
    mending = dataclasses.replace(unattended.autonomy, schedule=ScheduleConfig(recover=("open_sliding",)))
    with pytest.raises(RunError, match="--recover open_sliding: cal_ql knows no tasks but"):
        learn(dataclasses.replace(unattended, autonomy=mending))


def test_practice_that_nobody_resets_goes_on_to_the_very_same(
    unattended: CalQLRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    soon = dataclasses.replace(unattended.autonomy, schedule=ScheduleConfig(stir_after=1, ask_after=2))
    unattended = dataclasses.replace(unattended, autonomy=soon)
    straight = dataclasses.replace(unattended, run=str(tmp_path / "straight"))
    learn(straight)
    press_ctrl_c(monkeypatch, 20, 90)
    assert not learn(unattended).finished
    assert learn(unattended, resume=True).finished
    assert same(unattended.run, straight.run)
    past = load_state(Path(unattended.run))[1]["past"]  # type: ignore[index]
    assert past == load_state(Path(straight.run))[1]["past"]  # type: ignore[index]
    assert {before for _, _, before in past} == {"home", "stir", "person"}


def test_finetune_leaves_it_alone_too(unattended: CalQLRun, tmp_path: Path) -> None:
    base, practised = dataclasses.replace(unattended, online_steps=0, autonomy=Autonomy()), tmp_path / "practised"
    learn(base)
    flags = ["--reset-free", "--episode-steps", "15", "--furniture", "4", "--steps", "40"]
    assert main(["finetune", base.run, "--run", str(practised), *flags]) == 0
    assert read_rl_config(practised).autonomy == Autonomy(reset_free=True, episode_steps=15, furniture=4)


def test_where_the_scene_is_gone_help_is_counted(unattended: CalQLRun, monkeypatch: pytest.MonkeyPatch) -> None:
    press_ctrl_c(monkeypatch, 20, 30)
    learn(unattended)
    (Path(unattended.run) / "scene.npy").unlink()
    learn(unattended, resume=True)
    past = load_state(Path(unattended.run))[1]["past"]  # type: ignore[index]
    assert [before for _, _, before in past[:4]] == ["home", "home", "person", "home"]


def test_practice_that_nobody_resets_begins_as_demonstrations_do(
    unattended: CalQLRun, both_ways: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    homes, plain = [], Homes.draw
    monkeypatch.setattr(Homes, "draw", lambda self, rng: homes.append(self) or plain(self, rng))
    learn(dataclasses.replace(unattended, online_steps=50))
    plan = Demonstrations.load(Dataset(both_ways), ["observation.state"]).retry_plan()
    assert plan is not None and homes[0].places == plan.starts


def test_failures_alone_say_nothing_of_where_to_begin(
    unattended: CalQLRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    failures = tmp_path / "failures"
    collect_demonstrations(failures, {"open_drawer": 0, "close_drawer": 5}, episodes=0, failures=1, cameras=())
    learn(dataclasses.replace(unattended, dataset=(str(failures),), online_steps=30))
    assert "begin about the usual place" in " ".join(capsys.readouterr().err.split())


def test_evaluations_change_nothing(config: CalQLRun, tmp_path: Path) -> None:
    watched = dataclasses.replace(config, run=str(tmp_path / "watched"), evaluate_every=100)
    learn(config)
    learn(watched)
    assert same(config.run, watched.run)


def test_practice_goes_on_from_another_run(config: CalQLRun, tmp_path: Path) -> None:
    base = dataclasses.replace(config, online_steps=0)
    learn(base)
    result = learn(continuing(Path(base.run), {"run": str(tmp_path / "practised"), "online_steps": 100}))
    assert (result.offline_steps, result.online_steps) == (20, 100)
    assert load_state(Path(base.run))[1]["steps"] == 0  # the run it started from is as it was


def test_a_run_that_was_never_trained_is_no_start(config: CalQLRun, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="has no training_state"):
        learn(dataclasses.replace(config, start=str(tmp_path / "nothing")))


def test_a_second_run_in_the_same_folder_is_refused(config: CalQLRun) -> None:
    learn(dataclasses.replace(config, online_steps=0))
    with pytest.raises(RunError, match="already holds a run"):
        learn(config)


def test_without_data_it_says_what_to_do(config: CalQLRun) -> None:
    with pytest.raises(RunError, match="--dataset"):
        learn(dataclasses.replace(config, dataset=()))
    assert not Path(config.run).exists()


def test_an_environment_of_another_kind_is_refused(config: CalQLRun) -> None:
    with pytest.raises(RunError, match="CartPole"):
        learn(dataclasses.replace(config, env="CartPole-v1"))


def test_the_config_survives_the_disk(config: CalQLRun) -> None:
    learn(dataclasses.replace(config, online_steps=0))
    assert read_rl_config(Path(config.run)) == dataclasses.replace(config, online_steps=0)


KILLED = """
import dataclasses, sys
from pathlib import Path
from robot_learning.training.online import learn
from robot_learning.training.practice_env import Autonomy
from robot_learning.training.practice_schedule import ScheduleConfig
from robot_learning.training.rl_config import read_rl_config
config = read_rl_config(Path(sys.argv[1]))
learn(dataclasses.replace(config, run=sys.argv[2], start=sys.argv[1], online_steps=100_000, save_every=0.0))
"""


def test_a_kill_loses_at_most_the_episode_in_progress(config: CalQLRun, tmp_path: Path) -> None:
    learn(dataclasses.replace(config, online_steps=0))
    run, rng = tmp_path / "killed", np.random.default_rng(0)
    child = subprocess.Popen([sys.executable, "-c", KILLED, config.run, str(run)], stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 120
        while (load_state(run) or ({}, {"episodes": 0}))[1]["episodes"] < 2:
            assert child.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
        time.sleep(rng.uniform(0, 0.5))  # to die at any moment, of saving too
        before = load_state(run)
    finally:
        child.kill()
        child.wait()
    state = load_state(run)
    assert before is not None and state is not None and state[1]["episodes"] >= before[1]["episodes"]
    assert ReplayBuffer.load(run / "replay").size(ONLINE) >= state[1]["steps"]
    left = dataclasses.replace(read_rl_config(run), online_steps=state[1]["steps"] + 50)
    online.write_rl_config(run, left)
    result = learn(left, resume=True)
    assert result.finished and result.online_steps == left.online_steps
    assert ReplayBuffer.load(run / "replay").size(ONLINE) == left.online_steps


@pytest.mark.parametrize("practised", [0, 100])
def test_a_kill_between_experience_and_state_doubles_nothing(
    config: CalQLRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, practised: int
) -> None:
    straight = dataclasses.replace(config, run=str(tmp_path / "straight"))
    learn(straight)
    real = online.save_state

    def dies(run: Path, tensors: dict[str, torch.Tensor], progress: dict[str, Any]) -> None:
        if progress["steps"] >= practised:
            raise Killed
        real(run, tensors, progress)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(online, "save_state", dies)
        learn(dataclasses.replace(config, save_every=0.0))  # at the end of every episode
    assert learn(config, resume=True).finished
    assert same(config.run, straight.run)
    buffers = [ReplayBuffer.load(Path(run) / "replay").source(ONLINE) for run in (config.run, straight.run)]
    assert buffers[0].transitions == buffers[1].transitions == PRACTICE
    assert buffers[0].frames == buffers[1].frames
    # of a buffer without a state nothing is gone on with, and nothing is thrown away
    assert (Path(config.run) / "replay.unfinished").exists() == (practised == 0)


def test_practice_makes_room_for_what_it_will_bring_and_not_for_a_million_pictures(config: CalQLRun) -> None:
    learn(config)
    source = ReplayBuffer.load(Path(config.run) / "replay").source(ONLINE)
    assert PRACTICE <= source.frames < source.capacity < 10 * PRACTICE
