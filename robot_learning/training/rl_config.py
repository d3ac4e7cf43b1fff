"""RLConfig: everything that fixes a run of offline-to-online reinforcement learning."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import tyro

from robot_learning.algorithms.cal_ql import CalQL, CalQLConfig
from robot_learning.algorithms.iql import IQL, IQLConfig
from robot_learning.algorithms.observation_policy import EncoderConfig
from robot_learning.algorithms.offline_to_online import OfflineToOnline
from robot_learning.algorithms.rlpd import RLPD, RLPDConfig
from robot_learning.settings import require_at_least, require_choice, require_shares, require_some
from robot_learning.training.config import read_as, save_plain
from robot_learning.training.practice_env import PLAYROOM, Autonomy, RobotAccess

CAL_QL: CalQLConfig = CalQLConfig(
    layer_norm=True,
    penalty_weight=0.1,
    temperature=0.05,
    importance_sampling=False,
    n_actions=4,
    target_range=(0.0, 1.0),
    log_std_range=(-4.0, 0.0),
    actor_learning_rate=3e-4,
    entropy_weight=0.002,
    bc_weight=100.0,
)
"""Cal-QL for sparse rewards of 0 and 1 on two cores; see docs/cal_ql.md, "Rewards of 0 and 1"."""


SPARSE_RLPD: RLPDConfig = RLPDConfig(
    critics=4,
    target_range=(0.0, 1.0),
    log_std_range=(-4.0, 0.0),
    entropy_weight=0.002,
    bc_steps=5000,
    bc_weight=25.0,
)
"""RLPD for sparse rewards of 0 and 1 on two cores."""


SPARSE_IQL: IQLConfig = IQLConfig(layer_norm=True, target_range=(0.0, 1.0), log_std_range=(-4.0, 0.0), temperature=10.0)
"""IQL for sparse rewards of 0 and 1."""


@dataclass(frozen=True)
class RLConfig:
    """What all algorithms have in common. Equal configs, data and threads lead to equal weights."""

    run: str = "runs/rl"
    """Folder of the run: config, metrics, replay buffer, checkpoints."""
    start: tyro.conf.Suppress[str] = ""
    """Folder of the run that this one goes on from."""
    dataset: tuple[str, ...] = ()
    """Folders of demonstrations (LeRobot v3), failures included."""
    play: tuple[str, ...] = ()
    """Folders of play and other prior data; attempts at the tasks that are learned are taken from them."""
    env: str = PLAYROOM
    """Registered environment to practise in; robot_learning/Robot-v0 is a robot on ROS 2."""
    robot: RobotAccess = field(default_factory=RobotAccess)
    """With robot_learning/Robot-v0: how to reach the robot."""
    autonomy: Annotated[Autonomy, tyro.conf.arg(name="")] = field(default_factory=Autonomy)
    """Practice that nobody resets or judges; a success counts at first sight."""
    tasks: tuple[str, ...] = ("open_drawer",)
    """Tasks to learn ("open_drawer"; on a robot any instruction); several take turns."""
    inputs: str = "state"
    """What the policy reads: "state" (observation.state and, in simulation, the objects' state) or "images" (cameras instead)."""
    cameras: tuple[str, ...] = ("front", "wrist")
    """Cameras to read with "images"."""
    image_size: int = 96
    """Height and width of their pictures [pixels]."""
    offline_steps: int = 5000
    """Gradient steps on the data alone."""
    online_steps: int = 0
    """Steps of the environment to practise for; `robot-learning finetune` sets it."""
    updates_per_step: int = 1
    """Gradient steps at each step of the environment; on a robot they are done between episodes."""
    batch_size: int = 256
    """Transitions in a batch."""
    online_share: float = 0.5
    """Share of a batch taken from practice, once there is some; the sources of data share the rest equally."""
    gamma: float = 0.98
    """Discount of a step."""
    n_step: int = 3
    """Steps that a return spans before a critic's value takes over."""
    sample: bool = False
    """The policy acts by sampling when it is deployed and evaluated, not by its mode, which may stand still."""
    seed: int = 0
    """Seed of weights, batches, exploration and starts."""
    threads: int = 1
    """Threads of torch; more are slower for networks of this size."""
    log_every: int = 200
    """Updates between two rows of metrics."""
    save_every: float = 20.0
    """Seconds between two saves, each at the end of an episode; a kill loses at most what came since."""
    keep_every: int = 0
    """Steps of practice between checkpoints that stay (`checkpoints/step_N`), 0 for none."""
    evaluate_every: int = 0
    """Steps of practice between evaluations in the simulator, 0 for none; the best is kept as `checkpoints/best`."""
    evaluate_episodes: int = 20
    """Episodes of each task at each evaluation."""
    evaluate_seed: int = 5000
    """Seed of the first such episode; keep it away from the seeds of the final evaluation."""
    evaluate_processes: int = 2
    """Worker processes of an evaluation; 0: none but this one."""
    encoder: Annotated[EncoderConfig, tyro.conf.arg(name="encoder")] = field(default_factory=EncoderConfig)
    """How pictures become features."""

    def __post_init__(self) -> None:
        require_some(self, "tasks")
        require_choice(self, "inputs", ("images", "state"))
        require_at_least(self, 1, "image_size", "batch_size", "n_step", "threads", "log_every", "evaluate_episodes")
        require_at_least(self, 0, "updates_per_step", "seed", "keep_every", "evaluate_every", "evaluate_seed")
        require_at_least(self, 0, "evaluate_processes")
        require_shares(self, "online_share")


@dataclass(frozen=True)
class CalQLRun(RLConfig):
    """Cal-QL."""

    algorithm: tyro.conf.Suppress[str] = "cal_ql"
    """Name of the algorithm."""
    settings: Annotated[CalQLConfig, tyro.conf.arg(name="")] = field(default_factory=lambda: CAL_QL)
    """Its own settings."""


@dataclass(frozen=True)
class IQLRun(RLConfig):
    """IQL."""

    algorithm: tyro.conf.Suppress[str] = "iql"
    """Name of the algorithm."""
    settings: Annotated[IQLConfig, tyro.conf.arg(name="")] = field(default_factory=lambda: SPARSE_IQL)
    """Its own settings."""


@dataclass(frozen=True)
class RLPDRun(RLConfig):
    """SAC with prior data."""

    algorithm: tyro.conf.Suppress[str] = "rlpd"
    """Name of the algorithm."""
    settings: Annotated[RLPDConfig, tyro.conf.arg(name="")] = field(default_factory=lambda: SPARSE_RLPD)
    """Its own settings."""


RUNS: dict[str, tuple[type[RLConfig], type[OfflineToOnline]]] = {
    "cal_ql": (CalQLRun, CalQL),
    "iql": (IQLRun, IQL),
    "rlpd": (RLPDRun, RLPD),
}
"""Config and class of each algorithm, by its name on the command line."""


def name_of(config: RLConfig) -> str:
    """The algorithm's name on the command line."""
    return str(config.algorithm)  # type: ignore[attr-defined]


def write_rl_config(run: Path, config: RLConfig) -> None:
    """Write `config.yaml`, with the version that made it."""
    save_plain(run, config)


def read_rl_config(run: Path) -> Any:
    """Reverse of `write_rl_config`.

    Raises:
        RunError: the run has no config, or one of something else.
    """
    return read_as(run, _kind)


def _kind(data: dict[str, Any]) -> type[RLConfig]:
    name = data.get("algorithm")
    if name not in RUNS:
        raise ValueError(f"expected the algorithm to be one of {list(RUNS)}, found {name!r}")
    return RUNS[name][0]


def continuing(run: Path, changes: dict[str, Any]) -> Any:
    """The config of `run` with what is to be different; None leaves a setting as it was."""
    given = {name: value for name, value in changes.items() if value is not None}
    return dataclasses.replace(read_rl_config(run), start=str(run), **given)
