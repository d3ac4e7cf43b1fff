"""Runs on a robot: what they ask of it, what they refuse, and that holds and losses are neither failures nor experience."""

from __future__ import annotations

import dataclasses
import os
import signal
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import yaml

from robot_learning.algorithms.cal_ql import CalQLConfig
from robot_learning.algorithms.cloning_config import BehaviourCloningConfig
from robot_learning.algorithms.observation_policy import EncoderConfig
from robot_learning.algorithms.offline_to_online import ONLINE
from robot_learning.algorithms.self_imitation import SelfImitationConfig
from robot_learning.commands import _robot
from robot_learning.commands.main import main
from robot_learning.contract import STATE, ContractError
from robot_learning.data import Dataset
from robot_learning.data.replay import ReplayBuffer
from robot_learning.errors import UserError
from robot_learning.policies import read_checkpoint
from robot_learning.training import practice_env
from robot_learning.training.collection import collect_demonstrations
from robot_learning.training.metrics import read_metrics
from robot_learning.training.online import learn
from robot_learning.training.practice_env import PLAYROOM, ROBOT, RobotAccess, make_practice_env
from robot_learning.training.rl_config import RUNS, CalQLRun, RLConfig, continuing
from robot_learning.training.run_state import RunError, load_state
from robot_learning.training.self_imitation import practise
from robot_learning.training.self_imitation_run import SelfImitationRun

from .robot_stand_in import FRONT, TASK, LostError, RobotStandIn, demonstrate, robot  # noqa: F401  a fixture

HOLD = "holding: the e-stop is pressed"
SMALL = EncoderConfig(channels=(4, 4), kernels=(5, 3), strides=(2, 1))
LIMIT = 12  # ticks of an episode


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return demonstrate(tmp_path_factory.mktemp("robot"))


@pytest.fixture
def access(recorded: tuple[Path, Path]) -> RobotAccess:
    return RobotAccess(contract=str(recorded[0]), max_episode_steps=LIMIT)


@pytest.fixture
def reinforced(recorded: tuple[Path, Path], access: RobotAccess, tmp_path: Path, robot: type[RobotStandIn]) -> CalQLRun:  # noqa: F811
    return CalQLRun(
        run=str(tmp_path / "run"), dataset=(str(recorded[1]),), env=ROBOT, robot=access, tasks=(TASK,),
        inputs="images", cameras=("front",), offline_steps=4, online_steps=30, batch_size=8, save_every=0.0,
        settings=CalQLConfig(hidden=(8, 8), n_actions=2), encoder=SMALL,
    )  # fmt: skip


@pytest.fixture
def imitated(
    recorded: tuple[Path, Path],
    access: RobotAccess,
    tmp_path: Path,
    robot: type[RobotStandIn],  # noqa: F811
) -> SelfImitationRun:
    clone = BehaviourCloningConfig(
        inputs="images", horizon=4, channels=(4, 4), kernels=(5, 3), strides=(2, 1), hidden=(8,), batch_size=8
    )
    return SelfImitationRun(
        run=str(tmp_path / "run"), dataset=(str(recorded[1]),), env=ROBOT, robot=access, tasks=(TASK,), cameras=("front",),
        online_steps=30, settings=SelfImitationConfig(round_steps=30, gradient_steps=6, most_gradient_steps=6), bc=clone,
    )  # fmt: skip


def online(run: str) -> ReplayBuffer:
    return ReplayBuffer.load(Path(run) / "replay")


def press_ctrl_c_while_waiting(monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """Ctrl-C at the probe of this number; the robot holds for as long as anybody waits."""

    def pressed() -> None:
        if len(RobotStandIn.probes) == after:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(RobotStandIn, "on_probe", staticmethod(pressed))


# --- the environment of a config ------------------------------------------------------------------------------------------


def test_a_robot_is_given_its_contract_instruction_and_streams(robot: type[RobotStandIn]) -> None:  # noqa: F811
    access = RobotAccess(reset_service="sim_robot/reset", use_sim_time=True)
    env = make_practice_env(ROBOT, ["open_drawer"], ["front"], 96, access)
    made = RobotStandIn.arguments
    assert made["task"] == "open the drawer" and made["streams"] == (STATE, FRONT)
    assert made["reset_service"] == "sim_robot/reset" and made["use_sim_time"] and "image_size" not in made
    assert env.get_wrapper_attr("_max_episode_steps") == 150


def test_the_playroom_is_given_task_and_cameras() -> None:
    env = make_practice_env(PLAYROOM, ["open_drawer"], [], 96, RobotAccess())
    assert env.unwrapped.task.name == "open_drawer"


def test_a_robot_that_nobody_registered_is_a_mistake_of_the_environment_s_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(gymnasium.registry, ROBOT, raising=False)
    with pytest.raises(RunError, match="Robot-v0"):
        make_practice_env(ROBOT, ["open_drawer"], [], 96, RobotAccess())


def test_a_robot_that_nobody_judges_is_refused(robot: type[RobotStandIn]) -> None:  # noqa: F811
    with pytest.raises(RunError, match="says whether the task is done"):
        make_practice_env(ROBOT, ["open_drawer"], [], 96, RobotAccess(success_topic=""))


def test_without_a_verdict_nothing_is_begun(reinforced: CalQLRun) -> None:
    RobotStandIn.hindrances = [LostError("success: no message; who judges the task?")]
    with pytest.raises(UserError, match="who judges"):
        learn(reinforced)
    assert not Path(reinforced.run).exists()


def test_another_robot_than_the_data_s_is_refused(reinforced: CalQLRun, imitated: SelfImitationRun) -> None:
    other = RobotAccess(contract="ur5e_2f85")  # whose pictures are larger
    with pytest.raises(UserError, match="image"):
        learn(dataclasses.replace(reinforced, robot=other))
    with pytest.raises(ContractError, match="shape"):
        practise(dataclasses.replace(imitated, robot=other))


# --- a checkpoint that reads what no robot knows ------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def drawers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data") / "drawers"
    collect_demonstrations(root, {"open_drawer": 0}, episodes=2, cameras=())
    return root


@pytest.mark.parametrize("algorithm", ["bc", "cal_ql"])
def test_a_checkpoint_that_reads_the_objects_state_is_refused(
    drawers: Path,
    tmp_path: Path,
    algorithm: str,
    robot: type[RobotStandIn],  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(_robot, "register", lambda run, env: None)
    run, steps = str(tmp_path / "run"), "--steps" if algorithm == "bc" else "--offline-steps"
    flags = ["--dataset", str(drawers), "--run", run, "--inputs", "state", steps, "2", "--threads", "1"]
    assert main(["train", algorithm, *flags]) == 0
    assert main(["finetune", run, "--env", ROBOT, "--steps", "10"]) == 2
    assert "--inputs images" in capsys.readouterr().err
    assert not (tmp_path / "run_practised").exists()


def test_without_ros_the_command_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match="rclpy is not installed"):
        _robot.register(tmp_path, ROBOT)


# --- reinforcement learning --------------------------------------------------------------------------------------------------


def test_holds_are_truncations_and_no_failures(reinforced: CalQLRun) -> None:
    RobotStandIn.script, RobotStandIn.hindrances = {4: "hold"}, ["", "", HOLD, HOLD, ""]
    result = learn(reinforced)
    source = online(reinforced.run).source(ONLINE)
    assert result.finished and RobotStandIn.hindrances == []
    assert source.valid[:7, 0].tolist() == [True] * 5 + [False, True]  # five transitions, then another episode
    assert not source.terminated[4, 0] and source.action[4].tolist() == [0.0] * 5
    state = load_state(Path(reinforced.run))
    assert state is not None and len(state[1]["recent"]) == state[1]["episodes"] - 1


def test_a_step_that_was_lost_from_sight_is_no_experience(reinforced: CalQLRun) -> None:
    RobotStandIn.script = {4: "lost"}
    result = learn(reinforced)
    assert result.finished and online(reinforced.run).size(ONLINE) == result.online_steps - 1


def test_a_person_s_actions_are_what_is_learned_from(reinforced: CalQLRun) -> None:
    RobotStandIn.script = {2: "teleop"}
    learn(reinforced)
    assert online(reinforced.run).source(ONLINE).action[2].tolist() == [0.5] * 5


@pytest.mark.parametrize("name", sorted(RUNS))
def test_every_learner_practises_on_it_and_learns_between_episodes(reinforced: CalQLRun, name: str) -> None:
    small = dataclasses.replace(RUNS[name][0]().settings, hidden=(8, 8))  # type: ignore[attr-defined]
    common = {f.name: getattr(reinforced, f.name) for f in dataclasses.fields(RLConfig)}
    run = RUNS[name][0](**{**common, "updates_per_step": 2}, settings=small)  # type: ignore[call-arg]
    result = learn(run)
    assert result.finished and result.online_steps >= 30
    rows = [row["train/n_updates"] for row in read_metrics(Path(run.run)) if "train/n_updates" in row]
    assert rows[-1] == 2 * result.online_steps


def test_evaluations_are_left_out_with_a_word(
    reinforced: CalQLRun,
    imitated: SelfImitationRun,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(practice_env, "evaluate", lambda *arguments, **options: pytest.fail("the simulator was asked"))
    assert learn(dataclasses.replace(reinforced, evaluate_every=10)).success is None
    assert "left out" in capsys.readouterr().err
    assert practise(dataclasses.replace(imitated, run=imitated.run + "2", evaluate_every=1)).success is None
    assert "left out" in capsys.readouterr().err


@pytest.mark.parametrize("episodes", [0, 1])
def test_ctrl_c_while_the_robot_holds_saves_and_it_goes_on_later(
    reinforced: CalQLRun, monkeypatch: pytest.MonkeyPatch, episodes: int
) -> None:
    RobotStandIn.hindrances = ["", *[""] * episodes, *[HOLD] * 100]
    press_ctrl_c_while_waiting(monkeypatch, after=episodes + 4)
    stopped = learn(reinforced)
    assert not stopped.finished and (stopped.online_steps > 0) == bool(episodes)
    assert not episodes or online(reinforced.run).size(ONLINE) == stopped.online_steps
    RobotStandIn.hindrances = []
    assert learn(reinforced, resume=True).finished


def test_the_success_that_ended_an_episode_is_kept_though_nothing_follows(
    reinforced: CalQLRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    RobotStandIn.script = dict.fromkeys(range(100), "teleop")  # 0.5 a tick; the limit is raised so that it gets there
    RobotStandIn.hindrances = ["", "", *[HOLD] * 100]
    press_ctrl_c_while_waiting(monkeypatch, after=5)
    long = dataclasses.replace(reinforced.robot, max_episode_steps=100)
    learn(dataclasses.replace(reinforced, robot=long))
    source = online(reinforced.run).source(ONLINE)
    assert source.terminated.sum() == 1 and source.reward.sum() == 1.0


def test_practice_goes_on_from_a_run_of_the_same_robot(reinforced: CalQLRun, tmp_path: Path) -> None:
    learn(dataclasses.replace(reinforced, online_steps=0))
    assert RobotStandIn.probes == []  # training asks nothing of the robot
    changes = {"run": str(tmp_path / "practised"), "online_steps": 20, "robot": reinforced.robot}
    assert learn(continuing(Path(reinforced.run), changes)).online_steps >= 20


# --- self-imitation ----------------------------------------------------------------------------------------------------------


def test_self_imitation_practises_on_a_robot(imitated: SelfImitationRun) -> None:
    result = practise(imitated)
    practised = Dataset(Path(imitated.run) / "practice")
    assert result.finished and practised.num_frames == result.online_steps >= 30
    assert set(practised.episode_tasks) == {TASK}
    assert read_checkpoint(Path(imitated.run) / "checkpoints" / "last").facts["Round"] == 1


@pytest.mark.parametrize("event", ["hold", "lost"])
def test_an_episode_that_was_cut_off_is_not_kept(imitated: SelfImitationRun, event: str) -> None:
    RobotStandIn.script = {2: event}
    practise(imitated)
    lengths = [int(b - a) for a, b in Dataset(Path(imitated.run) / "practice").episode_ranges]
    assert 3 not in lengths and 2 not in lengths


def test_a_person_s_actions_are_recorded_as_theirs(imitated: SelfImitationRun) -> None:
    RobotStandIn.script = {2: "teleop"}
    practise(imitated)
    actions = Dataset(Path(imitated.run) / "practice").column("action")
    assert actions[2].tolist() == [0.5] * 5


def test_ctrl_c_while_the_robot_holds_ends_self_imitation_and_it_goes_on_later(
    imitated: SelfImitationRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    RobotStandIn.hindrances = ["", "", *[HOLD] * 100]
    press_ctrl_c_while_waiting(monkeypatch, after=5)
    stopped = practise(imitated)
    assert not stopped.finished and 0 < stopped.online_steps < 30
    RobotStandIn.hindrances = []
    assert practise(imitated, resume=True).finished


def test_the_way_to_the_robot_survives_the_disk(imitated: SelfImitationRun) -> None:
    practise(imitated)
    written = yaml.safe_load((Path(imitated.run) / "config.yaml").read_text())
    assert written["robot"]["max_episode_steps"] == LIMIT and written["env"] == ROBOT
    assert np.isfinite(Dataset(Path(imitated.run) / "practice").column("action")).all()
