"""Run the main job: demonstrations, training, evaluation and a report, in minutes; goes on where it stopped.

    robot-learning demo                      (or: make demo)
    robot-learning demo --output runs/small --demonstrations 5 --episodes 10 --train-seconds 30

Ctrl-C at any moment; the same command again goes on.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

import tyro

from robot_learning.commands import doctor
from robot_learning.errors import UserError
from robot_learning.training.demo import Demo, DemoConfig
from robot_learning.training.demo_report import write_results


class RenderingMissingError(UserError, RuntimeError):
    """Camera pictures cannot be made on this machine."""


@dataclass(frozen=True)
class Config:
    """Flags of `robot-learning demo`."""

    until: Literal["collect", "train", "evaluate", "report"] = "report"
    """Stop after this stage."""
    demo: Annotated[DemoConfig, tyro.conf.arg(name="")] = field(default_factory=DemoConfig)


def run(config: Config) -> int:
    """Run what is missing of the job and print the result; 0 when it is complete."""
    for check in doctor.rendering():
        if check.status == doctor.FAIL:
            raise RenderingMissingError(f"no camera pictures on this machine ({check.found}); {check.mend}")
    demo = Demo(config.demo)
    result = demo.run(config.until)
    if config.until != "report":
        print(f"{config.until}: done, in {demo.folder}; go on with: {config.demo.command()}")
        return 0
    report = write_results(demo)
    for line in result.lines():
        print(line)
    print(f"report: {report.resolve().as_uri()}")
    return 0
