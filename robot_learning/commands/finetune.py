"""Better a policy by practice.

    robot-learning finetune runs/drawer --run runs/drawer_practised --steps 20000
    robot-learning finetune runs/drawer --run runs/drawer_practised --resume
    robot-learning finetune runs/drawer --env robot_learning/Robot-v0 --robot.reset-service my_robot/home

The first argument is a run of `robot-learning train`, or a checkpoint in it. A clone (`bc`) practises by self-imitation, `cal_ql`
by reinforcement learning. Ctrl-C finishes the episode, saves and stops; --resume goes on to the same weights as without the
pause, and after a kill from the last save.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from robot_learning.commands import _resume, _robot
from robot_learning.commands.main import INTERRUPTED, OK
from robot_learning.settings import at_least
from robot_learning.training.config import FILE, read_plain
from robot_learning.training.online import RLResult, learn
from robot_learning.training.practice_env import PLAYROOM, Autonomy, RobotAccess
from robot_learning.training.rl_config import RUNS, continuing
from robot_learning.training.run_state import RunError, load_state
from robot_learning.training.self_imitation import SelfImitationResult, practise
from robot_learning.training.self_imitation_run import from_clone


@dataclass(frozen=True)
class Config:
    """Flags of `robot-learning finetune`."""

    checkpoint: tyro.conf.Positional[str]
    """Folder of the run to go on from, or of one of its checkpoints (the run's last state counts)."""
    run: str = ""
    """Folder of the new run; beside the old one, with `_practised` added, when not given."""
    steps: int = 20_000
    """Steps of the environment to practise for."""
    resume: bool = False
    """Go on with the run in --run, whose config.yaml then overrides the other flags."""
    env: str | None = None
    """Another registered environment than in training; robot_learning/Robot-v0 is a robot on ROS 2."""
    robot: RobotAccess = field(default_factory=RobotAccess)
    """With --env robot_learning/Robot-v0: how to reach the robot."""
    autonomy: Annotated[Autonomy, tyro.conf.arg(name="")] = field(default_factory=Autonomy)
    """Practice that nobody resets or judges."""
    updates_per_step: int | None = None
    """Gradient steps at each step of the environment; as in training when not given. Not for clones."""
    evaluate_every: int | None = None
    """Steps between evaluations in the simulator; with a clone, rounds between them."""
    evaluate_episodes: int | None = None
    """Episodes of each task at each evaluation."""
    keep_every: int | None = None
    """Steps between checkpoints that stay. Not for clones, whose rounds all stay."""
    seed: int | None = None
    """Another seed for the starts of the episodes."""


def run(config: Config, given: Collection[str] = ()) -> int:
    """Practise; exit code 130 when stopped by Ctrl-C. `given`: names of the flags on the command line."""
    console = Console(stderr=True)
    base = _run_of(Path(config.checkpoint))
    folder = config.run or str(base.with_name(f"{base.name}_practised"))
    if Path(folder).resolve() == base.resolve():
        raise RunError(f"--run: expected another folder than that of the run to go on from, found {folder}")
    own = _resume.require_begun(folder) if config.resume else None
    if own is None:
        at_least("--steps", config.steps, 1)
    algorithm = read_plain(base).get("algorithm")
    if algorithm not in ("bc", *RUNS):
        raise RunError(
            f"{base}: expected a run of {', '.join(['bc', *RUNS])} to go on from, found one of {algorithm}; to go on with that, "
            "give the command that began it, and --resume"
        )
    cloned = algorithm == "bc"
    if cloned and own is None:
        _refuse_for_clones(config, base, folder)
    _robot.register(folder, config.env or str(read_plain(base).get("env", "")))
    before = 0 if cloned else _practised(base)
    if own is not None:
        steps = own.get("online_steps")  # those of its start included
        _resume.tell_not_in_force(config, own | ({"steps": steps - before} if isinstance(steps, int) else {}), given)
    result = _imitate(config, base, folder) if cloned else _reinforce(config, base, folder, before)
    if not result.finished:
        console.print(
            f"Stopped at step {result.online_steps}. Go on with: "
            f"robot-learning finetune {config.checkpoint} --run {folder} --resume"
        )
        return INTERRUPTED
    console.print(f"Practised {result.online_steps} steps. Policy: {result.run / 'checkpoints' / 'last'}")
    return OK


def _practised(base: Path) -> int:
    """Steps of practice of the run to go on from. Raises `RunError`."""
    saved = load_state(base)
    if saved is None:
        raise RunError(
            f"{base} has saved nothing to go on from; train it first: robot-learning train cal_ql --run {base} ..."
        )
    return int(saved[1].get("steps", 0))


def _reinforce(config: Config, base: Path, folder: str, before: int) -> RLResult:
    names = ("env", "updates_per_step", "evaluate_every", "evaluate_episodes", "keep_every", "seed")
    changes = {name: getattr(config, name) for name in names}
    if config.env:
        changes["robot"] = config.robot
    if config.autonomy != Autonomy():
        changes["autonomy"] = config.autonomy
    steps = {"online_steps": before + config.steps}
    return learn(continuing(base, {**changes, **steps, "run": folder}), resume=config.resume)


def _refuse_for_clones(config: Config, base: Path, folder: str) -> None:
    for name in ("updates_per_step", "keep_every"):
        if getattr(config, name) is not None:
            raise RunError(
                f"--{name.replace('_', '-')} is of reinforcement learning, but {base} is a clone, which is trained anew after "
                f"each round of practice and keeps each round's policy in {folder}/rounds; leave it out"
            )


def _imitate(config: Config, base: Path, folder: str) -> SelfImitationResult:
    changes = {name: getattr(config, name) for name in ("evaluate_every", "evaluate_episodes", "seed")}
    given = {name: value for name, value in changes.items() if value is not None}
    made = from_clone(base, run=folder, online_steps=config.steps, env=config.env or PLAYROOM)
    made = dataclasses.replace(made, robot=config.robot, autonomy=config.autonomy, **given)
    return practise(made, resume=config.resume)


def _run_of(path: Path) -> Path:
    """The run that a path names: itself, or the one whose `checkpoints/` it is in."""
    for folder in (path, *path.parents[:2]):
        if (folder / FILE).is_file():
            return folder
    raise RunError(f"{path} is neither a run nor a checkpoint of one: expected a {FILE} there or two folders above")
