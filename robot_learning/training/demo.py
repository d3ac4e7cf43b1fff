"""The main job: demonstrations -> dataset -> behaviour cloning -> evaluation -> report, each stage resumable.

collect    every episode is committed to the dataset on its own; the next session records the missing ones
train      the training state is saved every few seconds; the result equals that of an uninterrupted run
evaluate   each episode is committed to evaluation.json, with a hash of the weights it measured
report     films, report.html and summary.json
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from robot_learning.contract import Contract
from robot_learning.data.files import WriterLock, write_json
from robot_learning.envs.tasks import task as task_named
from robot_learning.policies import read_checkpoint
from robot_learning.training.collection import collect_demonstrations
from robot_learning.training.config import TrainConfig
from robot_learning.training.evaluation import EpisodeResult, EvaluationResult, evaluate, record_success, summarise
from robot_learning.training.films import Clip, film
from robot_learning.training.offline import train
from robot_learning.training.stages import JobError, Stages

STAGES = ("collect", "train", "evaluate", "report")
SEEDS_PER_TASK = 1000  # demonstrations of the task number k start from the seeds seed + 1000 k and up
FILMED = {True: 2, False: 2}  # successes and failures of each task to show


@dataclass(frozen=True)
class DemoConfig:
    """The size of the job. The defaults take at most 8 minutes on two CPU cores."""

    output: str = "runs/demo"
    """Folder of the job; a second run goes on with what is there."""
    tasks: tuple[str, ...] = ("open_drawer", "close_drawer")
    """Tasks of the playroom to learn."""
    demonstrations: int = 20
    """Demonstrations of each task."""
    episodes: int = 50
    """Evaluation episodes of each task, from seeds that no demonstration used."""
    steps: int = 1000
    """Gradient steps of behaviour cloning, fewer where they would not fit into `train_seconds`."""
    train_seconds: float = 300.0
    """Upper limit of the training time [s], by the machine's speed when nothing else runs on it."""
    image_size: int = 96
    """Height and width of the camera pictures [pixel]."""
    seed: int = 0
    """Seed of the demonstrations and of the training."""
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
            if value != getattr(type(self), name, None):
                values = value if isinstance(value, (tuple, list)) else [value]
                words += [f"--{name.replace('_', '-')}", *(str(v) for v in values)]
        return " ".join(words)

    def check(self) -> None:
        """Refuse what makes no experiment (`JobError`, `UnknownTaskError`)."""
        for name in self.tasks:
            task_named(name)
        limits = {"demonstrations": (2, SEEDS_PER_TASK // 2), "episodes": (1, 10**6), "steps": (1, 10**9)}
        for name, (low, high) in {**limits, "processes": (0, 1024)}.items():
            if not low <= getattr(self, name) <= high:
                raise JobError(f"--{name}: expected {low} to {high}, found {getattr(self, name)}")
        used = range(self.seed, self.seed + SEEDS_PER_TASK * len(self.tasks))
        asked = range(self.evaluation_seed, self.evaluation_seed + self.episodes)
        if asked.start < used.stop and used.start < asked.stop:
            raise JobError(
                f"--evaluation-seed: {asked.start} to {asked.stop - 1} overlaps the seeds of the demonstrations, "
                f"{used.start} to {used.stop - 1}; an evaluation needs fresh episodes"
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
        self.dataset = self.folder / "dataset"
        self.checkpoint = self.folder / "train" / "checkpoints" / "last"

    def run(self, until: str = STAGES[-1]) -> EvaluationResult:
        """Every stage in turn up to `until`. Ctrl-C raises `KeyboardInterrupt` and leaves what is done for the next session.

        Raises:
            DatasetLockedError: another process works on this job.
        """
        work = {
            "collect": (f"{self.config.demonstrations} demonstrations of each task", self.collect),
            "train": ("behaviour cloning on them", self.train),
            "evaluate": (f"{self.config.episodes} fresh episodes of each task", self.evaluate),
            "report": ("filming successes and failures", self.film),
        }
        lock = WriterLock(self.folder)
        lock.acquire()
        try:
            for name in STAGES[: STAGES.index(until) + 1]:
                self._stage(name, *work[name])
        finally:
            lock.release()
        return self.result()

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

    def collect(self) -> None:
        """Record the demonstrations that are missing."""
        config = self.config
        seeds = {task: config.seed + SEEDS_PER_TASK * index for index, task in enumerate(config.tasks)}
        collect_demonstrations(self.dataset, seeds, config.demonstrations, config.image_size)

    def train(self) -> None:
        """Train, or go on with training."""
        result = train(self.train_config(), resume=True)
        if not result.finished:
            raise KeyboardInterrupt

    def train_config(self) -> TrainConfig:
        """The training run of this job."""
        config = self.config
        return TrainConfig(
            dataset=str(self.dataset),
            run=str(self.folder / "train"),
            held_out=1,
            steps=config.steps,
            time_limit=config.train_seconds,
            seed=config.seed,
        )

    def evaluate(self) -> None:
        """Run the evaluation episodes that are missing; each is committed on its own."""
        results = self._episodes()

        def commit(result: EpisodeResult) -> None:
            results.append(result)
            episodes = [{k: v for k, v in vars(r).items() if k != "views"} for r in results]
            write_json(self.folder / "evaluation.json", {"weights": weights, "episodes": episodes})

        config, weights = self.config, self._weights()
        evaluate(
            self.checkpoint,
            config.tasks,
            episodes=config.episodes,
            seed=config.evaluation_seed,
            processes=config.processes,
            known=tuple(results),
            on_result=commit,
        )
        record_success(self.checkpoint, self.result().lines())

    def result(self) -> EvaluationResult:
        """What was measured so far."""
        return summarise(self._episodes(), self.config.tasks, self.config.evaluation_seed)

    def _episodes(self) -> list[EpisodeResult]:
        """The evaluation episodes so far, none when they measured other weights."""
        path = self.folder / "evaluation.json"
        if not path.is_file() or not self.checkpoint.is_dir():
            return []
        data = json.loads(path.read_text(encoding="utf-8"))
        return [EpisodeResult(**fields) for fields in data["episodes"]] if data["weights"] == self._weights() else []

    def _weights(self) -> str:
        read_checkpoint(self.checkpoint)  # puts back a checkpoint whose replacement was cut short
        digest = hashlib.sha256()
        for path in sorted(self.checkpoint.glob("*.safetensors")):
            digest.update(path.read_bytes())
        return digest.hexdigest()[:16]

    def film(self) -> None:
        """Film the first successes and failures of each task that are not filmed yet."""
        result, config = self.result(), self.config
        clips = []
        for name, task in result.tasks.items():
            seeds = range(config.evaluation_seed, config.evaluation_seed + task.episodes)
            for success, count in FILMED.items():
                matching = [seed for seed in seeds if (seed not in task.failed_seeds) == success]
                clips += [Clip(name, seed, success) for seed in matching[:count]]
        film(self.checkpoint, clips, self.folder / "videos", config.processes)

    def contract(self) -> Contract:
        """The contract of the policy: the streams it reads, the action it writes."""
        return read_checkpoint(self.checkpoint).contract

    def clips(self) -> list[Clip]:
        """The clips on the disk."""
        return Clip.found(self.folder / "videos")
