"""The main job: a robot is shown a task and its reverse a few times, practises them by itself, and is measured before and after.

record     demonstrations, and attempts that fail, by the recorder on the ROS graph
reward     a model that sees from the pictures whether the task is done
clone      behaviour cloning of the demonstrations alone
before     fresh episodes with that clone
prior      play at other desks, as data from elsewhere
pretrain   a clone of what succeeded there, a generalist, and one of the demonstrations too that goes on from it
start      the same fresh episodes with it
practise   forward, backward, forward again, on the ROS graph; nobody resets, nobody judges; a learner trains meanwhile
after      the same fresh episodes with the policy that practice has made
again      the same once more, where it may give up an attempt, go back and try again
report     films, report.html and summary.json

Every stage goes on where it was stopped. With `ros` false the same is done in this process, without a graph.
"""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from robot_learning.algorithms.cloning_config import BehaviourCloningConfig
from robot_learning.contract import Contract
from robot_learning.data.files import WriterLock
from robot_learning.envs.tasks import task as task_named
from robot_learning.policies import read_checkpoint
from robot_learning.rewards import EmbeddedConfig, HeadTraining
from robot_learning.training.config import TrainConfig
from robot_learning.training.demo_world import ROBOT, GraphWorld, OneProcess, World
from robot_learning.training.evaluation import record_success
from robot_learning.training.films import Clip, film
from robot_learning.training.intervals import bootstrap
from robot_learning.training.kept_evaluation import KeptEvaluation
from robot_learning.training.offline import train
from robot_learning.training.play_collection import collect_play_in_parts
from robot_learning.training.practice_log import Entry
from robot_learning.training.reward_training import RewardRun, train_reward
from robot_learning.training.stages import JobError, Stages

STAGES = ("record", "reward", "clone", "before", "prior", "pretrain", "start", "practise", "after", "again", "report")
OF_PRIOR = ("prior", "pretrain", "start")  # without prior data there is nothing to do in these
PRIOR_SEED = 500_000  # of play, from here on; evaluations keep away
PARTS = 2  # processes that play
SEEDS_PER_TASK = 1000  # demonstrations of the task number k start from the seeds seed + 1000 k and up
FILMED = {True: 2, False: 1}  # successes and failures of each task to show, after practice
GENERAL = BehaviourCloningConfig(dropout=0.1)
AFTERWARDS: dict[str, Any] = {
    "prior_share": 0.25,
    "learning_rate": 3e-4,
}  # in the clone that goes on from the generalist
MARGIN = 0.01  # what the reward model is to call done is so much more than enough [m]


@dataclass(frozen=True)
class DemoConfig:
    """The size of the job. The defaults take 10 to 15 minutes on two CPU cores."""

    output: str = "runs/demo"
    """Folder of the job; a second run goes on with what is there."""
    tasks: tuple[str, ...] = ("open_drawer", "close_drawer")
    """The cycle to learn: a task of the playroom and the one that undoes it, or more."""
    demonstrations: int = 5
    """Demonstrations of each task."""
    failures: int = 10
    """Attempts at each task that fail on purpose, for the reward model to learn from."""
    steps: int = 1000
    """Gradient steps of each clone of the demonstrations."""
    general_steps: int = 3000
    """Gradient steps of the generalist, a clone of prior data alone."""
    reward_steps: int = 1000
    """Gradient steps of each head of the reward model."""
    prior: float = 30.0
    """Minutes of play at other desks, as prior data; 0: practice begins with the clone of the demonstrations alone."""
    practice: int = 2000
    """Control ticks of practice, ten in a second of the robot's time."""
    retry: bool = True
    """After practice evaluate once more, where the policy may give up an attempt that takes too long, go back and try again."""
    episodes: int = 25
    """Evaluation episodes of each task, before and after, from seeds that nothing else uses."""
    ros: bool = True
    """Record and practise on the ROS graph; false: in this process, where there is no ROS."""
    image_size: int = 96
    """Height and width of the camera pictures [pixel]; over ROS those of the robot's contract."""
    furniture: int = 0
    """Seed of where the furniture stands, in all of it: the robot's own desk."""
    seed: int = 0
    """Seed of the demonstrations, of the training and of practice."""
    evaluation_seed: int = 10000
    """Seed of the first evaluation episode of each task."""
    processes: int = 2
    """Processes that evaluate; they do not change the result."""

    def settings(self) -> dict[str, Any]:
        """What must be equal for a second run to go on with the first."""
        return {k: v for k, v in dataclasses.asdict(self).items() if k not in ("output", "processes")}

    def command(self, **changes: Any) -> str:
        """The command line of this config with `changes`; flags at their defaults are left out."""
        words = ["robot-learning demo"]
        for name, value in {**dataclasses.asdict(self), **changes}.items():
            if isinstance(value, bool) and value != getattr(type(self), name):
                words.append(f"--{'' if value else 'no-'}{name.replace('_', '-')}")
            elif value != getattr(type(self), name, None):
                values = value if isinstance(value, (tuple, list)) else [value]
                words += [f"--{name.replace('_', '-')}", *(shlex.quote(str(v)) for v in values)]
        return " ".join(words)

    def check(self) -> None:
        """Refuse what makes no experiment (`JobError`, `UnknownTaskError`)."""
        for name in self.tasks:
            task_named(name)
        if not self.tasks or len(set(self.tasks)) < len(self.tasks):
            raise JobError(f"--tasks: expected a cycle of tasks, each once, found {list(self.tasks)}")
        if not 0 <= self.prior <= 600:
            raise JobError(f"--prior: expected 0 to 600 minutes, found {self.prior}")
        limits = dict.fromkeys(("episodes", "steps", "general_steps", "reward_steps", "practice"), (1, 10**9))
        limits |= dict.fromkeys(("seed", "furniture", "evaluation_seed"), (0, 2**31))
        limits |= {"demonstrations": (2, SEEDS_PER_TASK // 2), "failures": (1, SEEDS_PER_TASK // 2)}
        for name, (low, high) in {**limits, "processes": (0, 1024)}.items():
            if not low <= getattr(self, name) <= high:
                flag = name.replace("_", "-")
                raise JobError(f"--{flag}: expected {low} to {high}, found {getattr(self, name)}")
        asked = range(self.evaluation_seed, self.evaluation_seed + self.episodes)
        for whose, used in {
            "the demonstrations": range(self.seed, self.seed + SEEDS_PER_TASK * len(self.tasks)),
            "play": range(PRIOR_SEED, PRIOR_SEED + SEEDS_PER_TASK * PARTS),
        }.items():
            if asked.start < used.stop and used.start < asked.stop:
                raise JobError(
                    f"--evaluation-seed: {asked.start} to {asked.stop - 1} overlaps the seeds of {whose}, "
                    f"{used.start} to {used.stop - 1}; an evaluation needs fresh episodes"
                )
        sizes = {stream.shape[0] for stream in Contract.load(ROBOT).images.values()}
        if self.ros and sizes != {self.image_size}:
            raise JobError(
                f"--image-size: over ROS expected that of the contract {ROBOT}, {sizes}, found {self.image_size}"
            )


class Demo:
    """The job in the folder `config.output`; `run` does what is not done yet.

    Raises:
        JobError: the config makes no experiment, or the folder holds a job with other settings.
    """

    def __init__(self, config: DemoConfig, console: Console | None = None) -> None:
        config.check()
        self.config, self.folder = config, Path(config.output)
        self.console = console or Console(stderr=True, highlight=False)
        self.stages = Stages(self.folder, config.settings())
        self.dataset, self.reward = self.folder / "dataset", self.folder / "reward"
        self.practice = self.folder / "practice"
        self.clone = self.folder / "clone" / "checkpoints" / "last"
        self.begins = self.folder / ("pretrain" if config.prior else "clone")  # the run that practice begins with
        self.priors = [self.folder / "prior" / str(part) for part in range(PARTS)] if config.prior else []
        self.practised = self.practice / "checkpoints" / "last"
        self.world: World = GraphWorld(self.folder / "logs") if config.ros else OneProcess(config.image_size)

    def run(self, until: str = STAGES[-1]) -> None:
        """Every stage in turn up to `until`. Ctrl-C raises `KeyboardInterrupt` and leaves what is done for the next session.

        Raises:
            DatasetLockedError: another process works on this job. GraphFailedError: a graph of nodes ended before its time.
        """
        config = self.config
        shown = f"{config.demonstrations} demonstrations and {config.failures} failures of each task"
        work: dict[str, tuple[str, Callable[[], None]]] = {
            "record": (shown, self.record),
            "reward": ("a model that sees whether a task is done", self.train_reward),
            "clone": ("behaviour cloning of the demonstrations", self.train_clone),
            "before": (
                f"{config.episodes} fresh episodes of each task, by the demonstrations alone",
                self.evaluate_before,
            ),
            "prior": (f"{config.prior:g} minutes of play at other desks", self.collect_prior),
            "pretrain": ("a clone of what succeeded at play, then of the demonstrations too", self.pretrain),
            "start": ("the same episodes before practice", self.evaluate_start),
            "practise": (f"{config.practice} control ticks, nobody resets or judges", self.practise),
            "after": ("the same episodes after practice", self.evaluate_after),
            "again": ("the same once more, where it may try again", self.evaluate_again),
            "report": ("filming successes and failures", self.film),
        }
        lock = WriterLock(self.folder)
        lock.acquire()
        try:
            for name in STAGES[: STAGES.index(until) + 1]:
                if (config.prior or name not in OF_PRIOR) and (config.retry or name != "again"):
                    self._stage(name, *work[name])
        finally:
            lock.release()

    def _stage(self, name: str, what: str, work: Callable[[], None]) -> None:
        stage = self.stages[name]
        if stage.done:
            self.console.print(f"[bold]{name}[/bold]: done before, in {stage.seconds:.0f} s")
            return
        again = f" (goes on, {stage.seconds:.0f} s so far)" if stage.sessions else ""
        self.console.print(f"[bold]{name}[/bold]: {what}{again}")
        with self.stages.work(name):
            work()
        self.stages.finish(name)

    # --- the stages ---------------------------------------------------------------------------------------------------------

    def record(self) -> None:
        """Record the demonstrations and failures that are missing."""
        config = self.config
        seeds = {task: config.seed + SEEDS_PER_TASK * index for index, task in enumerate(config.tasks)}
        self.world.record(self.dataset, seeds, config.demonstrations, config.failures, config.furniture)

    def train_reward(self) -> None:
        """Train the reward model, from the start if it was stopped."""
        config = self.config
        run = RewardRun(
            dataset=(self.dataset,),
            output=self.reward,
            ask=config.tasks,
            margin=MARGIN,
            network=EmbeddedConfig(image_size=config.image_size),
            training=HeadTraining(steps=config.reward_steps),
        )
        train_reward(run)

    def train_clone(self) -> None:
        """Train the clone, or go on with it."""
        self._train(self._training("clone", dataset=str(self.dataset), bc=BehaviourCloningConfig(encoder="frozen")))

    def _training(self, name: str, **settings: Any) -> TrainConfig:
        common = TrainConfig(run=str(self.folder / name), steps=self.config.steps, seed=self.config.seed, threads=2)
        return dataclasses.replace(common, **settings)

    def _train(self, config: TrainConfig) -> None:
        if not train(config, resume=True).finished:
            raise KeyboardInterrupt

    def collect_prior(self) -> None:
        """Play what is missing of the prior data."""
        collect_play_in_parts(self.priors, self.config.prior, PRIOR_SEED, self.config.image_size)

    def pretrain(self) -> None:
        """Train the generalist, and from it the clone that practice begins with, or go on with them."""
        prior = tuple(str(folder) for folder in self.priors)
        common: dict[str, Any] = {"prior": prior, "threads": 1}  # is as fast on one thread, in bfloat16, as on two
        general = self._training("general", steps=self.config.general_steps, bc=GENERAL, **common)
        self._train(general)
        bc = dataclasses.replace(GENERAL, **AFTERWARDS)
        self._train(self._training("pretrain", dataset=str(self.dataset), start=general.run, bc=bc, **common))

    def practise(self) -> None:
        """Practise, or go on with it."""
        config, room = self.config, self.config.furniture
        self.world.practise(self.practice, self.begins, self.reward, config.tasks, config.practice, config.seed, room)

    def evaluate_before(self) -> None:
        """Run the evaluation episodes of the clone of the demonstrations alone that are missing."""
        self._evaluate(self.before)

    def evaluate_start(self) -> None:
        """Run those of the clone that practice begins with."""
        self._evaluate(self.start)

    def evaluate_after(self) -> None:
        """Run those of the practised policy; its model card tells the result."""
        self._evaluate(self.after)
        record_success(self.practised, self.after.result().lines())

    def evaluate_again(self) -> None:
        """Run those in which it may try again."""
        self._evaluate(self.again)

    def _evaluate(self, evaluation: KeptEvaluation) -> None:
        evaluation.run(self.config.processes)

    def film(self) -> None:
        """Film the first successes and failures after practice, and a start that the clone failed from and practice mended."""
        for path, checkpoint, clips in self._wanted_clips():
            film(checkpoint, clips, path, self.config.processes, self.config.furniture)

    def _wanted_clips(self) -> list[tuple[Path, Path, list[Clip]]]:
        mended, shown = [], []
        for name, task in self.after.result().tasks.items():
            seeds = range(self.config.evaluation_seed, self.config.evaluation_seed + task.episodes)
            gained = [seed for seed, gain in zip(seeds, self.paired(name), strict=True) if gain > 0][:1]
            mended += [Clip(name, seed, False) for seed in gained]
            for success, count in FILMED.items():
                matching = [seed for seed in seeds if (seed not in task.failed_seeds) == success and seed not in gained]
                shown += [Clip(name, seed, success) for seed in [*(gained if success else []), *matching][:count]]
        return [
            (self.folder / "videos" / "before", self.clone, mended),
            (self.folder / "videos" / "after", self.practised, shown),
        ]

    # --- what came of it ----------------------------------------------------------------------------------------------------

    @property
    def before(self) -> KeptEvaluation:
        """The evaluation of the clone of the demonstrations alone."""
        return self._evaluation("before", self.clone)

    @property
    def start(self) -> KeptEvaluation:
        """The evaluation of the clone that practice begins with; without prior data `before`."""
        return self._evaluation("start", self.begins / "checkpoints" / "last") if self.config.prior else self.before

    @property
    def after(self) -> KeptEvaluation:
        """The evaluation of the practised policy."""
        return self._evaluation("after", self.practised)

    @property
    def again(self) -> KeptEvaluation:
        """The evaluation of the practised policy that may try again."""
        return self._evaluation("again", self.practised, retry=True)

    def evaluations(self) -> dict[str, KeptEvaluation]:
        """Those with one attempt an episode, in their order, by what the policy has learned from."""
        start = {"with prior data": self.start} if self.config.prior else {}
        return {"demonstrations alone": self.before, **start, "after practice": self.after}

    def _evaluation(self, name: str, checkpoint: Path, retry: bool = False) -> KeptEvaluation:
        config = self.config
        return KeptEvaluation(
            self.folder / f"{name}.json",
            checkpoint,
            config.tasks,
            config.episodes,
            config.evaluation_seed,
            config.furniture,
            retry,
        )

    def clips(self, when: str) -> list[Clip]:
        """The clips on the disk, of "before" or "after"."""
        return Clip.found(self.folder / "videos" / when)

    def entries(self) -> list[Entry]:
        """The episodes of practice so far."""
        return self.world.entries(self.practice)

    def paired(self, task: str, since: KeptEvaluation | None = None) -> np.ndarray:
        """Success after minus before (`since`) of each evaluation episode of a task `(N,)`, the same starts: -1, 0 or 1."""
        kept = (since or self.before), self.after
        before, after = (evaluation.result().tasks[task] for evaluation in kept)
        for evaluation, result in zip(kept, (before, after), strict=True):
            if not result.episodes:
                raise JobError(
                    f"{evaluation.path}: expected episodes of {task} by the policy in {evaluation.checkpoint}, found none: it "
                    "has not been evaluated, or was changed since. Put its weights back, or move the job away and begin again."
                )
        seeds = range(self.config.evaluation_seed, self.config.evaluation_seed + min(before.episodes, after.episodes))
        solved = [np.array([seed not in told.failed_seeds for seed in seeds], float) for told in (before, after)]
        return solved[1] - solved[0]

    def gain(self, *tasks: str, since: KeptEvaluation | None = None) -> tuple[float, tuple[float, float]]:
        """Success after minus before (`since`) over the `tasks` (all), with its 95 % bootstrap interval over episodes."""
        differences = np.concatenate([self.paired(name, since) for name in tasks or self.config.tasks])
        return float(differences.mean()), bootstrap(differences)

    def contract(self) -> Contract:
        """The contract of the policy: the streams it reads, the action it writes."""
        return read_checkpoint(self.clone).contract
