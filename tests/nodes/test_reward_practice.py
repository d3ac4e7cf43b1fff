"""Practice on the simulated robot with the reward node as the judge, over DDS. The model is untrained, the plumbing is real."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from diagnostic_msgs.msg import DiagnosticStatus
from std_msgs.msg import Bool

from robot_learning.algorithms.cal_ql import CalQLConfig
from robot_learning.algorithms.observation_policy import EncoderConfig
from robot_learning.algorithms.offline_to_online import ONLINE
from robot_learning.commands.main import INTERRUPTED
from robot_learning.contract import STATE, Contract
from robot_learning.data.replay import ReplayBuffer
from robot_learning.nodes.base import reliable
from robot_learning.rewards import save_reward
from robot_learning.training.collection import collect_demonstrations
from robot_learning.training.online import learn
from robot_learning.training.rl_config import CalQLRun
from robot_learning.training.run_state import load_state
from robot_learning.training.uncertain import read_wanted
from tests.nodes.reward_stand_in import OPEN, make_model

FRONT, SIDE = "observation.images.front", 32
TASK = "close_sliding"
EPISODE = 25  # ticks at most
PATIENCE = 240.0  # [s]
DONE, HARDLY = 6.0, 1.5  # log-odds of what the model says to every picture


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of reinforcement learning from pictures, trained on data alone."""
    folder = tmp_path_factory.mktemp("runs")
    collect_demonstrations(folder / "data", {TASK: 0}, episodes=2, image_size=SIDE, cameras=("front",))
    learn(
        CalQLRun(
            run=str(folder / "base"), dataset=(str(folder / "data"),), tasks=(TASK,), inputs="images", cameras=("front",),
            image_size=SIDE, offline_steps=5, batch_size=8, save_every=0.0,
            settings=CalQLConfig(hidden=(16,), n_actions=2),
            encoder=EncoderConfig(channels=(4, 4), kernels=(5, 3), strides=(2, 1)),
        )
    )  # fmt: skip
    return folder / "base"


class Practice:
    """A simulated robot whose own word on success nobody hears, its gate, the reward node, and the command that practises."""

    def __init__(self, graph, base: Path, folder: Path, always: float) -> None:
        self.graph, self.run, self.log = graph, folder / "run", folder / "finetune.log"
        contract = Contract.load("ur5e_2f85").select([STATE, FRONT]).with_image_size(SIDE, SIDE)
        self.contract = folder / "robot.yaml"
        self.contract.write_text(yaml.safe_dump(contract.to_dict()))
        self.common = {"contract": str(self.contract), "use_sim_time": True}
        self.model, self.wanted = save_reward(folder / "reward", make_model(always=always)), folder / "wanted"
        self.status: dict[str, DiagnosticStatus] = {}
        self.node = graph.node("witness")
        self.node.create_subscription(DiagnosticStatus, "reward/status", self._on_status, reliable(5))
        remap = ("-r", "success:=sim_robot/success")
        graph.start("sim_robot", *remap, real_time_factor=0.0, lockstep=True, **self.common)
        graph.start("safety_gate", **self.common)
        self.judge = self.start_judge()
        robot = ["--robot.contract", str(self.contract), "--robot.use-sim-time", "--robot.timeout", "15"]
        robot += ["--robot.reset-service", "sim_robot/reset", "--robot.max-episode-steps", str(EPISODE)]
        command = [sys.executable, "-m", "robot_learning.commands.main", "finetune", str(base), "--run", str(self.run)]
        command += ["--steps", "100000", "--env", "robot_learning/Robot-v0", *robot]
        graph.until(lambda: self.status, "the reward node", 120)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stderr=log, stdout=log, env=graph.environment())

    def _on_status(self, message: DiagnosticStatus) -> None:
        self.status[message.name] = message

    def start_judge(self):
        # the instruction that practice asks for, as one of the questions that this model knows
        questions = [f"close the sliding door = {OPEN}"]
        return self.graph.start(
            "reward", model=str(self.model), questions=questions, uncertain_folder=str(self.wanted), max_age=1.0, **self.common
        )  # fmt: skip

    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def until(self, condition: Callable[[], object], what: str) -> None:
        """Wait for it while the command runs."""

        def true_or_over() -> bool:
            assert self.process.poll() is None, f"ended before {what}:\n{self.said()}"
            return bool(condition())

        self.graph.until(true_or_over, f"{what}; it says:\n{self.said()}", PATIENCE)

    def state(self) -> dict:
        return (load_state(self.run) or ({}, {"episodes": 0, "recent": []}))[1]

    def interrupted(self) -> int:
        """Ctrl-C; returns its exit code."""
        self.process.send_signal(signal.SIGINT)
        self.graph.until(lambda: self.process.poll() is not None, f"the end; it says:\n{self.said()}", PATIENCE)
        return self.process.returncode


@pytest.fixture
def practise(graph, base: Path, tmp_path: Path):
    started: list[Practice] = []

    def start(always: float) -> Practice:
        started.append(Practice(graph, base, tmp_path, always))
        return started[-1]

    yield start
    graph.stop(*(each.process for each in started))


def test_the_reward_model_s_yes_ends_episodes_and_is_the_reward(practise) -> None:
    practice = practise(DONE)
    practice.until(lambda: practice.state()["episodes"] >= 3, "three episodes")
    assert practice.interrupted() == INTERRUPTED
    assert all(practice.state()["recent"])
    replay = ReplayBuffer.load(practice.run / "replay").source(ONLINE)
    assert replay.reward.sum() == practice.state()["episodes"]


def test_practice_waits_for_a_reward_node_that_was_killed_and_goes_on(practise) -> None:
    practice = practise(-DONE)
    practice.until(lambda: practice.state()["episodes"] >= 1, "an episode")
    assert not any(practice.state()["recent"])
    practice.graph.kill(practice.judge)
    practice.until(lambda: "Practice waits" in practice.said(), "practice to wait")
    assert "success: silent for" in practice.said() or "success: no message" in practice.said()
    practice.start_judge()
    practice.until(lambda: "Practice goes on." in practice.said(), "practice to go on")
    done = practice.state()["episodes"]
    practice.until(lambda: practice.state()["episodes"] > done, "another episode")
    assert practice.interrupted() == INTERRUPTED


def test_a_person_overrules_the_model_and_what_it_was_unsure_of_is_kept(practise) -> None:
    practice = practise(HARDLY)
    verdict = practice.node.create_publisher(Bool, "person/success", reliable(5))

    def judged() -> bool:
        verdict.publish(Bool(data=True))
        return any(practice.state()["recent"])

    practice.until(lambda: practice.state()["episodes"] >= 1, "an episode")
    assert not any(practice.state()["recent"])
    practice.until(judged, "an episode that the person says is done")
    practice.until(lambda: practice.wanted.is_dir() and read_wanted(practice.wanted), "a picture")
    assert practice.interrupted() == INTERRUPTED
