"""Train a policy on a dataset.

    robot-learning train bc --dataset datasets/drawer --run runs/drawer
    robot-learning train cal_ql --dataset datasets/drawer --play datasets/play --tasks open_drawer --run runs/open
    robot-learning train bc --run runs/drawer --resume

Ctrl-C saves and stops; --resume goes on to the same weights as without the pause. Curves: tensorboard --logdir runs
A policy is bettered by practice: robot-learning finetune runs/open
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Annotated

import tyro
from rich.console import Console
from tyro.conf import arg, subcommand

from robot_learning.commands import _resume, _robot
from robot_learning.commands.main import INTERRUPTED, OK
from robot_learning.settings import at_least
from robot_learning.training.config import TrainConfig
from robot_learning.training.offline import TrainResult, train
from robot_learning.training.online import RLResult, learn
from robot_learning.training.rl_config import CalQLRun, IQLRun, RLConfig, RLPDRun
from robot_learning.training.self_imitation import SelfImitationResult, practise
from robot_learning.training.self_imitation_run import SelfImitationRun

RESUME = "Go on with the run in --run, whose config.yaml then overrides the other flags."


@dataclass(frozen=True)
class BC:
    """Behaviour cloning with action chunks."""

    resume: Annotated[bool, arg(help=RESUME)] = False
    training: Annotated[TrainConfig, arg(name="")] = field(default_factory=TrainConfig)

    def go(self) -> TrainResult:
        """Train."""
        return train(self.training, resume=self.resume)


@dataclass(frozen=True)
class CalQL:
    """Calibrated conservative Q-learning, to be bettered by practice."""

    resume: Annotated[bool, arg(help=RESUME)] = False
    training: Annotated[CalQLRun, arg(name="")] = field(default_factory=CalQLRun)

    def go(self) -> RLResult:
        """Train."""
        return learn(self.training, resume=self.resume)


@dataclass(frozen=True)
class IQL:
    """Implicit Q-learning, to be bettered by practice."""

    resume: Annotated[bool, arg(help=RESUME)] = False
    training: Annotated[IQLRun, arg(name="")] = field(default_factory=IQLRun)

    def go(self) -> RLResult:
        """Train."""
        return learn(self.training, resume=self.resume)


@dataclass(frozen=True)
class RLPD:
    """Soft actor-critic with prior data, to be bettered by practice."""

    resume: Annotated[bool, arg(help=RESUME)] = False
    training: Annotated[RLPDRun, arg(name="")] = field(default_factory=RLPDRun)

    def go(self) -> RLResult:
        """Train."""
        return learn(self.training, resume=self.resume)


@dataclass(frozen=True)
class SelfImitation:
    """Cloning of demonstrations and, again and again, of the successes of its own practice."""

    resume: Annotated[bool, arg(help=RESUME)] = False
    training: Annotated[SelfImitationRun, arg(name="")] = field(default_factory=SelfImitationRun)

    def go(self) -> SelfImitationResult:
        """Train."""
        return practise(self.training, resume=self.resume)


Algorithm = (
    Annotated[BC, subcommand("bc", prefix_name=False)]
    | Annotated[CalQL, subcommand("cal_ql", prefix_name=False)]
    | Annotated[IQL, subcommand("iql", prefix_name=False)]
    | Annotated[RLPD, subcommand("rlpd", prefix_name=False)]
    | Annotated[SelfImitation, subcommand("self_imitation", prefix_name=False)]
)


@dataclass(frozen=True)
class Config:
    """Flags of `robot-learning train`."""

    algorithm: tyro.conf.OmitSubcommandPrefixes[Annotated[Algorithm, arg(name="")]]


def run(config: Config, given: Collection[str] = ()) -> int:
    """Train; exit code 130 when stopped by Ctrl-C. `given`: names of the flags on the command line."""
    console, job = Console(stderr=True), config.algorithm
    if job.resume:
        own = _resume.require_begun(job.training.run, job.training.algorithm)
        _resume.tell_not_in_force(job.training, own, given)
    else:
        _require_numbers(job.training)
    if not isinstance(job, BC):
        _robot.register(job.training.run, job.training.env)
    result = job.go()
    if not result.finished:
        name = job.training.algorithm
        console.print(
            f"Stopped at {_done(result)}. Go on with: robot-learning train {name} --run {result.run} --resume"
        )
        return INTERRUPTED
    console.print(f"Trained {_done(result)}. Policy: {result.run / 'checkpoints' / 'last'}")
    if isinstance(job.training, TrainConfig) and not job.training.dataset:
        console.print(f"Go on from it: robot-learning train bc --dataset DEMONSTRATIONS --start {result.run} ...")
    elif not isinstance(job, SelfImitation):
        console.print(f"Practise with it: robot-learning finetune {result.run}")
    return OK


def _require_numbers(training: TrainConfig | RLConfig | SelfImitationRun) -> None:
    """Check how long is trained (`SettingError`); without steps a clone has no loss, but a learner may begin with practice."""
    if isinstance(training, TrainConfig):
        at_least("--steps", training.steps, 1)
        return
    if isinstance(training, RLConfig):
        at_least("--offline-steps", training.offline_steps, 0)
    at_least("--online-steps", training.online_steps, 0)


def _done(result: TrainResult | RLResult | SelfImitationResult) -> str:
    if isinstance(result, TrainResult):
        return f"{result.step} steps, loss {result.metrics.get('train/loss', float('nan')):.3f}"
    if isinstance(result, RLResult):
        return f"{result.offline_steps} updates"
    return f"{result.online_steps} steps of practice"
