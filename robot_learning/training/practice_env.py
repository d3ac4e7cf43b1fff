"""The environment that a run practises in: the simulated playroom in this process, or a robot through its ROS topics."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, TypeVar

import gymnasium
import torch
import tyro

import robot_learning.envs  # noqa: F401  registers the playroom; a robot is registered by who starts the run
from robot_learning.contract import ENVIRONMENT_STATE, IMAGE_PREFIX, STATE, Contract
from robot_learning.envs.task_observation import SeededEpisodes, TaskObservation
from robot_learning.envs.tasks import instruction_of
from robot_learning.policies import read_checkpoint
from robot_learning.rewards import load_reward
from robot_learning.training.evaluation import EvaluationResult, evaluate, make_playroom
from robot_learning.training.judged import Judged
from robot_learning.training.pausing import Pausing, tell
from robot_learning.training.practice_schedule import ScheduleConfig
from robot_learning.training.reset_free import ResetFree
from robot_learning.training.run_state import RunError

PLAYROOM, ROBOT = "robot_learning/Playroom-v0", "robot_learning/Robot-v0"
RESET_FREE = "robot_learning/PlayroomResetFree-v0"
ROBOT_JUDGE = "a robot's success topic says when the task is done, and its reset service what is reset"
Config = TypeVar("Config", bound=Any)
Wrapper = TypeVar("Wrapper", bound=gymnasium.Wrapper[Any, Any, Any, Any])


@dataclass(frozen=True)
class RobotAccess:
    """With the environment robot_learning/Robot-v0: how to reach the robot."""

    contract: str = "ur5e_2f85"
    """The robot: a name in config/contracts/ or a YAML file."""
    reset_service: str = ""
    """Called between episodes: sim_robot/reset, sim_robot/home, or one of your own (std_srvs/Trigger); empty: it stays there."""
    success_topic: str = "success"
    """Topic (std_msgs/Bool) that says whether the task is done."""
    person_judges: bool = False
    """A person says when the task is done (key y of teleop); silence means not yet."""
    use_sim_time: bool = False
    """The robot is simulated and lives by /clock."""
    namespace: str = ""
    """Namespace of its nodes and topics."""
    max_episode_steps: int = 150
    """Control ticks after which an episode is truncated."""
    timeout: float = 5.0
    """Practice pauses when a sensor, the safety gate or the verdict has been missing for so long [s]."""


@dataclass(frozen=True)
class Autonomy:
    """Practice in the simulated playroom as on a robot that nobody watches."""

    reset_free: bool = False
    """Objects stay where they are between episodes; tasks take turns, such as a task and its reverse."""
    reward: str = ""
    """Folder of a reward model that judges by the pictures instead of the simulator (robot-learning reward train)."""
    furniture: int | None = None
    """Seed of where the furniture stands, as for a robot at its own desk; none: elsewhere after each full reset."""
    consecutive: int = 2
    """Frames in a row that the reward model must call a success."""
    confirm: bool = True
    """Reset-free: a success is one only if it is still there after lingering, as what the next task is to undo."""
    look: bool = True
    """Reset-free self-imitation: the arm goes home after it, and what is seen from there decides; no: the last picture."""
    episode_steps: int = 100
    """Reset-free: control ticks after which an episode is truncated; sooner where demonstrations say how long attempts take."""
    schedule: Annotated[ScheduleConfig, tyro.conf.arg(name="")] = field(default_factory=ScheduleConfig)
    """Reset-free: what is done when the robot gets nowhere."""

    def check(self) -> None:
        """Refuse numbers that nothing can be practised with (`RunError`)."""
        for name in ("consecutive", "episode_steps"):
            if getattr(self, name) < 1:
                raise RunError(f"--{name.replace('_', '-')}: expected 1 or more, found {getattr(self, name)}")
        self.schedule.check()


def on_robot(env: str) -> bool:
    """Whether the environment of this name is a robot: not to be reset by seed, and without object state or simulator."""
    return env == ROBOT


def make_practice_env(
    env: str,
    tasks: Sequence[str],
    cameras: Sequence[str],
    image_size: int,
    robot: RobotAccess,
    autonomy: Autonomy | None = None,
) -> gymnasium.Env[Any, Any]:
    """The environment by its registered name, with the arguments of its kind; it has a `contract`.

    Args:
        tasks: the first is the one it starts with; cameras: pictures to observe, image_size: theirs in the playroom [pixels].
        robot: for Robot-v0 only, whose pictures are as its contract says.
        autonomy: for the playroom only: who judges, and whether anybody resets.

    Raises:
        RunError: there is no such environment, it is of another kind, nothing would tell success, or `autonomy` makes no sense.
    """
    if autonomy is not None:
        autonomy.check()
    try:
        if on_robot(env):
            if autonomy is not None and autonomy != Autonomy():
                raise RunError(f"--reset-free and --reward are for {PLAYROOM}; {ROBOT_JUDGE}")
            return Pausing(_make_robot(env, tasks, cameras, robot))
        if autonomy is not None and (autonomy.reset_free or autonomy.reward):
            return _make_autonomous(env, tasks, cameras, image_size, autonomy)
        look: dict[str, Any] = {"cameras": tuple(cameras), "image_size": image_size}
        # an environment of somebody else's need not know of it
        if autonomy is not None and autonomy.furniture is not None:
            look["furniture"] = autonomy.furniture
        return gymnasium.make(env, task=tasks[0], **look)
    except gymnasium.error.Error as error:
        raise RunError(f"env {env!r} cannot be made: {error}") from error
    except TypeError as error:
        raise RunError(
            f"env {env!r} does not take a task and cameras ({error}); use {PLAYROOM}, {ROBOT}, or the "
            "Python interface for environments of your own: docs/offline_to_online.md"
        ) from error


def _make_autonomous(
    env: str, tasks: Sequence[str], cameras: Sequence[str], image_size: int, autonomy: Autonomy
) -> gymnasium.Env[Any, Any]:
    if env != PLAYROOM:
        raise RunError(f"--reset-free and --reward are for {PLAYROOM}, found env {env!r}")
    reward = load_reward(autonomy.reward) if autonomy.reward else None
    seen = tuple(dict.fromkeys([*cameras, *(reward.cameras if reward else ())]))
    look: dict[str, Any] = {
        "task": tasks[0],
        "cameras": seen,
        "image_size": image_size,
        "furniture": autonomy.furniture,
    }
    if not autonomy.reset_free:
        assert reward is not None
        return Judged(gymnasium.make(env, **look), reward, tasks, autonomy.consecutive)
    judged = tasks_of(tasks, autonomy)
    made = gymnasium.make(RESET_FREE, max_episode_steps=autonomy.episode_steps, **look)
    judge = Judged(made, reward, judged, autonomy.consecutive) if reward else None
    return ResetFree(judge or made, tasks, autonomy.schedule, judge)


def _make_robot(env: str, tasks: Sequence[str], cameras: Sequence[str], robot: RobotAccess) -> gymnasium.Env[Any, Any]:
    if not robot.success_topic:
        raise RunError("robot.success_topic is empty: practice needs somebody who says whether the task is done")
    return gymnasium.make(
        env,
        contract=robot.contract,
        task=instruction_of(tasks[0]),
        streams=(STATE, *(IMAGE_PREFIX + camera for camera in cameras)),
        reset_service=robot.reset_service,
        success_topic=robot.success_topic,
        person_judges=robot.person_judges,
        namespace=robot.namespace,
        use_sim_time=robot.use_sim_time,
        timeout=robot.timeout,
        max_episode_steps=robot.max_episode_steps,
    )


def tasks_of(tasks: Sequence[str], autonomy: Autonomy) -> tuple[str, ...]:
    """All that is practised: the tasks, and without resets those that recover."""
    return tuple(dict.fromkeys([*tasks, *(autonomy.schedule.recover if autonomy.reset_free else ())]))


def in_turn(env: gymnasium.Env[Any, Any], name: str, tasks: Sequence[str], seed: int) -> SeededEpisodes:
    """The tasks in turn, every episode seeded by its number; a robot is told instructions, and takes any."""
    if not on_robot(name):
        return SeededEpisodes(TaskObservation(env, tasks), seed)
    words = [instruction_of(task) for task in tasks]
    return SeededEpisodes(TaskObservation(env, words, instructions=words), seed)


def contract_of(env: gymnasium.Env[Any, Any]) -> Contract:
    """The contract of the robot behind an environment."""
    contract: Contract = env.unwrapped.contract  # type: ignore[attr-defined]
    return contract


def require_serves(env: gymnasium.Env[Any, Any], name: str, checkpoint: Path) -> None:
    """Check that the environment called `name` has all that a checkpoint reads, and that it is the same there.

    Raises:
        RunError: it reads the state of objects, which no robot knows. ContractError: lists every difference with both sides.
    """
    needed = read_checkpoint(checkpoint).contract
    require_real(name, list(needed.observation), str(checkpoint))
    contract_of(env).require(needed, f"checkpoint {checkpoint}")


def require_real(name: str, keys: Sequence[str], who: str) -> None:
    """Check that `who` reads nothing that only the simulator knows, if the environment `name` is a robot (`RunError`)."""
    if on_robot(name) and ENVIRONMENT_STATE in keys:
        raise RunError(
            f"{who} reads {ENVIRONMENT_STATE}, which only the simulator knows; for a robot, train with --inputs images"
        )


def require_ready(env: gymnasium.Env[Any, Any], tasks: Sequence[str]) -> None:
    """Check that a robot can be seen, moved and judged before anything is begun (`UserError`: what is missing)."""
    pausing = _pausing(env)
    if pausing is not None:
        pausing.require_ready(instruction_of(tasks[0]))


def without_simulator(config: Config) -> Config:
    """The config of practice without evaluations, and a word about it, if it is for a robot that asks for some."""
    if not on_robot(config.env) or not config.evaluate_every:
        return config
    tell(
        "Evaluations are left out, as they are done in the simulator; the success of practice itself is shown and logged."
    )
    return replace(config, evaluate_every=0)


def evaluate_between(path: Path, config: Any, furniture: int | None = None) -> EvaluationResult:
    """Success of a checkpoint in the simulator, on seeds of its own; the random state of training does not notice.

    `furniture`: seed of where it stands in all episodes; None: elsewhere in each.
    """
    with torch.random.fork_rng(devices=[]):
        return evaluate(
            path,
            config.tasks,
            episodes=config.evaluate_episodes,
            seed=config.evaluate_seed,
            processes=config.evaluate_processes,
            make_env=partial(make_playroom, furniture=furniture),
        )


def stop_waiting_when(env: gymnasium.Env[Any, Any], stop: Callable[[], bool]) -> None:
    """Let a robot that is waited for be waited for only until `stop()`."""
    pausing = _pausing(env)
    if pausing is not None:
        pausing.stop_when(stop)


def _pausing(env: gymnasium.Env[Any, Any]) -> Pausing | None:
    return find_wrapper(env, Pausing)


def find_wrapper(env: gymnasium.Env[Any, Any], kind: type[Wrapper]) -> Wrapper | None:
    """The wrapper of this kind around an environment, if there is one."""
    while isinstance(env, gymnasium.Wrapper):
        if isinstance(env, kind):
            return env
        env = env.env
    return None
