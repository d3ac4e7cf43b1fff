"""Run the main job: a few demonstrations, practice without resets, a report; goes on where it stopped.

    robot-learning demo                      (or: make demo)
    robot-learning demo --output runs/small --demonstrations 4 --practice 500 --episodes 5
    robot-learning demo --no-ros             in this process, where there is no ROS 2

Ctrl-C at any moment; the same command again goes on. `robot-learning status` in another terminal shows the nodes meanwhile.
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

    until: Literal[
        "record", "reward", "clone", "before", "prior", "pretrain", "start", "practise", "after", "again", "report"
    ] = "report"
    """Stop after this stage."""
    demo: Annotated[DemoConfig, tyro.conf.arg(name="")] = field(default_factory=DemoConfig)


def run(config: Config) -> int:
    """Run what is missing of the job and print the result; 0 when it is complete."""
    for check in doctor.rendering():
        if check.status == doctor.FAIL:
            raise RenderingMissingError(f"no camera pictures on this machine ({check.found}); {check.mend}")
    demo = Demo(config.demo)
    demo.run(config.until)
    if config.until != "report":
        print(f"{config.until}: done, in {demo.folder}; go on with: {config.demo.command()}")
        return 0
    report = write_results(demo)
    for when, evaluation in demo.evaluations().items():
        for line in evaluation.result().lines():
            print(f"{when}: {line}")
    if config.demo.retry:
        for line in demo.again.result().lines():
            print(f"after practice, trying again: {line}")
    for since, evaluation in list(demo.evaluations().items())[:-1]:
        gain, (low, high) = demo.gain(since=evaluation)
        print(f"gain, against {since}: {100 * gain:+.0f} points, 95 % interval {100 * low:+.0f} to {100 * high:+.0f}")
    print(f"report: {report.resolve().as_uri()}")
    return 0
