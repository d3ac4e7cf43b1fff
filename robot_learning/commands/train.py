"""Train a policy on a dataset.

    robot-learning train bc --dataset datasets/drawer --run runs/drawer
    robot-learning train bc --run runs/drawer --resume

Ctrl-C saves and stops; --resume goes on to the same weights as without the pause. Curves: tensorboard --logdir runs
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Annotated, Literal

import tyro
from rich.console import Console

from robot_learning.commands.main import INTERRUPTED, OK
from robot_learning.training.config import TrainConfig
from robot_learning.training.offline import train


@dataclass(frozen=True)
class Config:
    """Flags of `robot-learning train`."""

    algorithm: tyro.conf.Positional[Literal["bc"]]
    """bc: behaviour cloning with action chunks."""
    resume: bool = False
    """Go on with the run in --run, whose config.yaml then overrides the other flags."""
    training: Annotated[TrainConfig, tyro.conf.arg(name="")] = field(default_factory=TrainConfig)


def run(config: Config) -> int:
    """Train; exit code 130 when stopped by Ctrl-C."""
    console = Console(stderr=True)
    result = train(dataclasses.replace(config.training, algorithm=config.algorithm), resume=config.resume)
    if not result.finished:
        console.print(
            f"Stopped at step {result.step}. Go on with: "
            f"robot-learning train {config.algorithm} --run {result.run} --resume"
        )
        return INTERRUPTED
    loss = result.metrics.get("train/loss", float("nan"))
    console.print(f"Trained {result.step} steps, loss {loss:.3f}. Policy: {result.run / 'checkpoints' / 'last'}")
    return OK
