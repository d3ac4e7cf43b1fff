"""Train a reward model: pictures and a yes/no question in, the probability of "yes" out.

    robot-learning reward train --dataset datasets/drawer datasets/play --output runs/reward
    robot-learning reward train --dataset datasets/drawer --ask open_drawer close_drawer --output runs/reward
    robot-learning reward train --dataset datasets/drawer --backend transformers --model FOLDER --stride 5 --lora.rank 8
    robot-learning reward train --dataset datasets/drawer --backend openai --model NAME --server.url http://HOST:8000/v1

In simulation every frame is labelled for every question by itself; elsewhere label stretches first: robot-learning reward label
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from typing import Annotated, Literal

import tyro

from robot_learning.commands.main import OK
from robot_learning.commands.reward_evaluate import quality_table, wide_console
from robot_learning.rewards import Quality
from robot_learning.training.reward_prompting import PromptedRun, train_prompted
from robot_learning.training.reward_training import RewardRun, train_reward


@dataclass(frozen=True)
class Config:
    """Flags of `robot-learning reward train`."""

    run: Annotated[RewardRun, tyro.conf.arg(name="")]
    """What to learn from, and how."""
    backend: Literal["embedded", "transformers", "openai"] = "embedded"
    """What answers: our small network, which is trained; or a large vision-language model, here or on a server, calibrated."""
    prompted: Annotated[PromptedRun, tyro.conf.arg(name="")] = field(default_factory=PromptedRun)
    """Of a large vision-language model."""


def run(config: Config) -> int:
    """Train, and print the quality on episodes that the answering head, or the calibration, had not seen."""
    model = (
        train_reward(config.run)
        if config.backend == "embedded"
        else train_prompted(config.run, config.backend, config.prompted)
    )
    console = wide_console()
    rows = {text: _quality(entry) for text, entry in model.facts["quality"].items()}
    console.print(quality_table(rows, "on episodes not trained on"))
    console.print(f"Reward model: {config.run.output}  (yes from P = {model.threshold:.3f})")
    folder = shlex.quote(str(config.run.output))
    console.print(f"Judge it on other data: robot-learning reward evaluate {folder} --dataset DATASET")
    return OK


def _quality(entry: dict[str, float | None]) -> Quality:
    return Quality(**{k: float("nan") if v is None else v for k, v in entry.items()})  # type: ignore[arg-type]
