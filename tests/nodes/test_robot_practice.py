"""`robot-learning finetune --env robot_learning/Robot-v0` with the simulated robot and its safety gate, over DDS in lockstep."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from std_msgs.msg import Bool
from std_srvs.srv import Trigger

from robot_learning.algorithms.cal_ql import CalQLConfig
from robot_learning.algorithms.cloning_config import BehaviourCloningConfig
from robot_learning.algorithms.observation_policy import EncoderConfig
from robot_learning.algorithms.offline_to_online import ONLINE
from robot_learning.commands.main import INTERRUPTED
from robot_learning.contract import STATE, Contract
from robot_learning.data import Dataset
from robot_learning.data.replay import ReplayBuffer
from robot_learning.training.collection import collect_demonstrations
from robot_learning.training.config import TrainConfig
from robot_learning.training.offline import train
from robot_learning.training.online import learn
from robot_learning.training.rl_config import CalQLRun
from robot_learning.training.run_state import load_state

FRONT, SIDE = "observation.images.front", 32
SHAPE = {"channels": (4, 4), "kernels": (5, 3), "strides": (2, 1)}
EPISODE = 25  # ticks at most
PATIENCE = 240.0  # [s]


@pytest.fixture(scope="module")
def robot(shared_graph):
    """A simulated robot with one small camera, and its safety gate."""
    contract = Contract.load("ur5e_2f85").select([STATE, FRONT]).with_image_size(SIDE, SIDE)
    shared_graph.contract = shared_graph.folder / "robot.yaml"
    shared_graph.contract.write_text(yaml.safe_dump(contract.to_dict()))
    common = {"contract": str(shared_graph.contract), "use_sim_time": True}
    shared_graph.start_sim = lambda: shared_graph.start("sim_robot", real_time_factor=0.0, lockstep=True, **common)
    shared_graph.sim = shared_graph.start_sim()
    shared_graph.start("safety_gate", **common)
    shared_graph.node("operator")
    return shared_graph


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("data") / "doors"
    collect_demonstrations(root, {"close_sliding": 0}, episodes=2, image_size=SIDE, cameras=("front",))
    return root


@pytest.fixture(scope="module")
def reinforced(data: Path, tmp_path_factory) -> Path:
    """A run of reinforcement learning from pictures, trained on data alone."""
    run = tmp_path_factory.mktemp("runs") / "reinforced"
    settings = CalQLConfig(hidden=(16,), n_actions=2)
    learn(
        CalQLRun(
            run=str(run), dataset=(str(data),), tasks=("close_sliding",), inputs="images", cameras=("front",),
            image_size=SIDE, offline_steps=5, batch_size=8, save_every=0.0, settings=settings, encoder=EncoderConfig(**SHAPE),
        )
    )  # fmt: skip
    return run


@pytest.fixture(scope="module")
def cloned(data: Path, tmp_path_factory) -> Path:
    """A clone from pictures."""
    run = tmp_path_factory.mktemp("runs") / "cloned"
    clone = BehaviourCloningConfig(inputs="images", horizon=4, hidden=(16,), batch_size=8, **SHAPE)
    train(TrainConfig(dataset=str(data), run=str(run), steps=10, threads=1, bc=clone))
    return run


class Finetune:
    """The command in a process of its own; what it says on stderr is in `said()`."""

    def __init__(self, graph, base: Path, run: Path, steps: int, *flags: str) -> None:
        self.graph, self.log = graph, run.with_suffix(".log")
        robot = ["--robot.contract", str(graph.contract), "--robot.use-sim-time", "--robot.timeout", "15"]
        robot += ["--robot.reset-service", "sim_robot/reset", "--robot.max-episode-steps", str(EPISODE)]
        command = [sys.executable, "-m", "robot_learning.commands.main", "finetune", str(base), "--run", str(run)]
        command += ["--steps", str(steps), "--env", "robot_learning/Robot-v0", *robot, *flags]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stderr=log, stdout=log, env=graph.environment())

    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def until(self, condition: Callable[[], object], what: str) -> None:
        """Wait for it while the process runs."""

        def true_or_over() -> bool:
            assert self.process.poll() is None, f"ended before {what}:\n{self.said()}"
            return bool(condition())

        self.graph.until(true_or_over, f"{what}; it says:\n{self.said()}", PATIENCE)

    def finished(self) -> int:
        """Its exit code."""
        self.graph.until(lambda: self.process.poll() is not None, f"the end; it says:\n{self.said()}", PATIENCE)
        return self.process.returncode

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def finetune(robot, tmp_path: Path):
    started: list[Finetune] = []

    def start(base: Path, steps: int, *flags: str) -> Finetune:
        started.append(Finetune(robot, base, tmp_path / "run", steps, *flags))
        return started[-1]

    yield start
    robot.stop(*(each.process for each in started))


def episodes(run: Path) -> int:
    return (load_state(run) or ({}, {"episodes": 0}))[1]["episodes"]


def test_reinforcement_learning_practises_on_the_robot_and_survives_a_kill(
    finetune, reinforced: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    first = finetune(reinforced, 200)
    first.until(lambda: episodes(run) >= 2, "two episodes")
    first.kill()
    before = load_state(run)[1]["steps"]
    assert finetune(reinforced, 200, "--resume").finished() == 0
    source = ReplayBuffer.load(run / "replay").source(ONLINE)
    steps = load_state(run)[1]["steps"]
    assert 0 < before < 200 <= steps and source.transitions >= steps
    pictures, states = source.observation[FRONT][: source.frames], source.observation[STATE][: source.frames]
    assert pictures.std() > 10 and len(np.unique(states.round(4), axis=0)) > steps / 2  # it saw something, and moved


def test_self_imitation_practises_on_the_robot_and_survives_a_kill(finetune, cloned: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    first = finetune(cloned, 200)
    first.until(lambda: (run / "practice" / "meta" / "episodes").exists(), "an episode")
    first.kill()
    assert finetune(cloned, 200, "--resume").finished() == 0
    practised = Dataset(run / "practice")
    assert practised.num_frames >= 200 and set(practised.episode_tasks) == {"close the sliding door"}
    assert (run / "rounds" / "round_1").is_dir()


def test_an_emergency_stop_pauses_practice_until_it_is_released_and_ctrl_c_then_stops_it(
    robot, finetune, reinforced: Path, tmp_path: Path
) -> None:
    practice, run = finetune(reinforced, 100_000), tmp_path / "run"
    practice.until(lambda: episodes(run) >= 1, "an episode")
    assert robot.call(Trigger, "safety_gate/estop").success
    practice.until(lambda: "Practice waits" in practice.said(), "practice to wait")
    assert "truncated" in practice.said() and "safety_gate/estop" in practice.said()
    assert robot.call(Trigger, "safety_gate/reset_estop").success
    practice.until(lambda: "Practice goes on." in practice.said(), "practice to go on")
    done = episodes(run)
    practice.until(lambda: episodes(run) > done, "another episode")
    assert robot.call(Trigger, "safety_gate/estop").success
    practice.until(lambda: practice.said().count("Practice waits") == 2, "practice to wait again")
    practice.process.send_signal(signal.SIGINT)
    assert practice.finished() == INTERRUPTED and "--resume" in practice.said()
    assert robot.call(Trigger, "safety_gate/reset_estop").success
    assert ReplayBuffer.load(run / "replay").size(ONLINE) == load_state(run)[1]["steps"]


def test_a_person_s_verdict_is_the_reward(robot, finetune, reinforced: Path, tmp_path: Path) -> None:
    verdict = robot.nodes[0].create_publisher(Bool, "person/success", 5)
    flags = ["--robot.success-topic", "person/success", "--robot.person-judges"]
    practice, run = finetune(reinforced, 100_000, *flags), tmp_path / "run"

    def judged() -> bool:
        verdict.publish(Bool(data=True))
        return any((load_state(run) or ({}, {"recent": []}))[1]["recent"])

    practice.until(judged, "an episode that the person says is done")
    practice.process.send_signal(signal.SIGINT)
    assert practice.finished() == INTERRUPTED
    assert ReplayBuffer.load(run / "replay").source(ONLINE).reward.sum() >= 1
    robot.nodes[0].destroy_publisher(verdict)


def test_where_nobody_judges_it_says_so_before_the_first_step(
    robot, finetune, reinforced: Path, tmp_path: Path
) -> None:
    practice = finetune(reinforced, 100, "--robot.success-topic", "nobody/success", "--robot.timeout", "5")
    assert practice.finished() == 2 and "who judges the task?" in practice.said()
    assert not (tmp_path / "run").exists()


def test_practice_goes_on_after_the_simulation_was_started_anew(
    robot, finetune, reinforced: Path, tmp_path: Path
) -> None:
    practice, run = finetune(reinforced, 100_000, "--robot.timeout", "10"), tmp_path / "run"
    practice.until(lambda: episodes(run) >= 1, "an episode")
    robot.sim.send_signal(signal.SIGINT)
    practice.until(lambda: "Practice waits" in practice.said(), "practice to wait")
    robot.sim = robot.start_sim()
    practice.until(lambda: "Practice goes on." in practice.said(), "practice to go on")
    done = episodes(run)
    practice.until(lambda: episodes(run) > done, "another episode")
    practice.process.send_signal(signal.SIGINT)
    assert practice.finished() == INTERRUPTED
