"""SelfImitationRun: everything that fixes a run of practice by self-imitation, and where it comes from."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from robot_learning.algorithms.cloning_config import BehaviourCloningConfig
from robot_learning.algorithms.self_imitation import SelfImitationConfig
from robot_learning.contract import IMAGE_PREFIX
from robot_learning.data import Dataset
from robot_learning.envs import TASKS
from robot_learning.training.clone_rounds import lengths
from robot_learning.training.config import read_as, read_config
from robot_learning.training.practice_env import PLAYROOM, Autonomy, RobotAccess, on_robot
from robot_learning.training.run_state import RunError


@dataclass(frozen=True)
class SelfImitationRun:
    """Everything that fixes a run; two runs with equal configs and data have equal episodes and weights."""

    run: str = "runs/self_imitation"
    """Folder of the run."""
    algorithm: tyro.conf.Suppress[str] = "self_imitation"
    """Name of the algorithm."""
    start: tyro.conf.Suppress[str] = ""
    """Checkpoint of a clone of the demonstrations that acts first; one is trained when empty."""
    dataset: tuple[str, ...] = ()
    """Folders of demonstrations (LeRobot v3)."""
    play: tuple[str, ...] = ()
    """Folders of play; attempts at the tasks that succeeded there are learned from like demonstrations."""
    prior: tuple[str, ...] = ()
    """Folders of prior data, play or demonstrations from elsewhere; what succeeded there, at any task, is part of each batch."""
    relabel: str = ""
    """Reward model that says what was done in play and prior data, at any task whose question it knows, whatever their own labels
    say; practice that did another task than its own is learned from as that one's."""
    relabel_questions: tuple[str, ...] = ()
    """For tasks that are none of the playroom's: "instruction = question", or "instruction = question | question if undone"."""
    pretrained: str = ""
    """Run or checkpoint of a clone whose weights each training goes on from; empty: each begins anew."""
    env: str = PLAYROOM
    """Registered environment to practise in; robot_learning/Robot-v0 is a robot on ROS 2."""
    robot: RobotAccess = field(default_factory=RobotAccess)
    """With robot_learning/Robot-v0: how to reach the robot."""
    autonomy: Annotated[Autonomy, tyro.conf.arg(name="")] = field(default_factory=Autonomy)
    """Practice that nobody resets or judges."""
    tasks: tuple[str, ...] = ("open_drawer",)
    """Tasks to learn; on a robot any instruction. Several take turns."""
    cameras: tuple[str, ...] = ("front", "wrist")
    """Cameras to read with `--inputs images`."""
    image_size: int = 96
    """Height and width of their pictures [pixels]."""
    online_steps: int = 20_000
    """Steps of practice."""
    seed: int = 0
    """Seed of weights, batches, noise and starts."""
    threads: int = 1
    """Threads of torch."""
    evaluate_every: int = 0
    """Rounds between evaluations in the simulator, 0 for none."""
    evaluate_episodes: int = 20
    """Episodes of each task at each evaluation."""
    evaluate_seed: int = 5000
    """Seed of the first such episode; keep it away from the seeds of the final evaluation."""
    evaluate_processes: int = 2
    """Worker processes of an evaluation; 0: none but this one."""
    settings: Annotated[SelfImitationConfig, tyro.conf.arg(name="")] = field(default_factory=SelfImitationConfig)
    """Practice."""
    bc: Annotated[BehaviourCloningConfig, tyro.conf.arg(name="")] = field(
        default_factory=lambda: BehaviourCloningConfig(inputs="state", choose_inputs=True)
    )
    """The clone."""


def read_run(run: Path) -> SelfImitationRun:
    """The config of a run (`RunError` if there is none)."""
    config: SelfImitationRun = read_as(run, lambda data: SelfImitationRun)
    return config


def from_clone(base: Path, run: str, online_steps: int, env: str = PLAYROOM) -> SelfImitationRun:
    """Practice of the clone that the run `base` of `robot-learning train bc` has made.

    A clone that reads pictures is trained in each round for about as many steps as it was (`lengths`): they take long.

    Raises:
        RunError: it is another run, or a task of its data is none of the playroom's and `env` is no robot.
    """
    cloned = read_config(base)
    if not cloned.dataset:
        raise RunError(
            f"{base} has learned from prior data alone, so nothing says which tasks to practise: clone demonstrations of them "
            f"first (robot-learning train bc --dataset D --start {base} ...)"
        )
    dataset = Dataset(cloned.dataset)
    wanted = cloned.tasks or tuple(sorted(set(dataset.episode_tasks)))
    names = {task.instruction: name for name, task in TASKS.items()}
    unknown = sorted(set(wanted) - set(names))
    if unknown and not on_robot(env):
        raise RunError(f"{base}: nothing tells whether {unknown} is done; practice knows {sorted(names)}")
    settings = dataclasses.replace(SelfImitationConfig(), **(lengths(cloned) if cloned.bc.inputs == "images" else {}))
    sizes = [dataset.features[key].shape[0] for key in dataset.image_keys]
    return SelfImitationRun(
        run=run,
        start=str(base / "checkpoints" / "last"),
        dataset=(cloned.dataset,),
        play=cloned.play,
        prior=cloned.prior,
        relabel=cloned.relabel,
        relabel_questions=cloned.relabel_questions,
        pretrained=cloned.start,
        env=env,
        tasks=tuple(names.get(instruction, instruction) for instruction in wanted),
        cameras=tuple(key.removeprefix(IMAGE_PREFIX) for key in dataset.image_keys),
        image_size=sizes[0] if sizes else 96,
        online_steps=online_steps,
        seed=cloned.seed,
        threads=cloned.threads,
        settings=settings,
        bc=cloned.bc,
    )
