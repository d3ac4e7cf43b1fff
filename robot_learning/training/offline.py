"""Offline training: a dataset in, a run folder out.

config.yaml                   everything that fixes the result
metrics.jsonl, events.out.*   the curves, as text and for TensorBoard
training_state.safetensors    where to go on
checkpoints/last, best, step_N
"""

from __future__ import annotations

import dataclasses
import math
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from robot_learning.algorithms.behaviour_cloning import BehaviourCloning
from robot_learning.algorithms.demonstrations import Demonstrations, load_prior, told_by_play, with_play, with_prior
from robot_learning.data import Dataset
from robot_learning.errors import UserError
from robot_learning.folders import LAST
from robot_learning.policies import Checkpoint, read_checkpoint, save_checkpoint
from robot_learning.training.config import FILE, TrainConfig, begin_or_resume, read_config, write_config
from robot_learning.training.evaluation import evaluate
from robot_learning.training.interrupt import StopRequest
from robot_learning.training.metrics import MetricsLog
from robot_learning.training.progress import Preparation, ProgressBar
from robot_learning.training.relabelling import relabeller
from robot_learning.training.run_state import RunError, load_state, save_state, state_of

ALGORITHMS = {"bc": BehaviourCloning}


class DivergedError(UserError, FloatingPointError):
    """The loss is no longer finite."""


@dataclass(frozen=True)
class TrainResult:
    """Where the run is, how far it got, whether it is finished, and its last logged metrics."""

    run: Path
    step: int
    finished: bool
    metrics: dict[str, float]


@dataclass
class _Progress:
    """What the training state keeps besides tensors; JSON-able."""

    step: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    count: int = 0
    last: dict[str, float] = field(default_factory=dict)
    best: float = -1.0
    success: list[str] = field(default_factory=list)
    seconds: float = 0.0
    data: str = ""
    """What was learned from, in short; empty in states from before it was kept."""


def train(config: TrainConfig, resume: bool = False) -> TrainResult:
    """Train until `config.steps` are done or Ctrl-C is pressed; either way the run can be looked at and resumed.

    Args:
        resume: go on with the run in `config.run` where there is one; its own config.yaml then holds, not `config`.

    Raises:
        RunError: the run exists and `resume` is false. DivergedError: the loss is not finite.
        ContractError, DemonstrationError, DatasetError: the dataset does not fit.
    """
    config, started = begin_or_resume(config, resume, read_config)
    run = Path(config.run)
    if not config.dataset and not config.prior:
        raise RunError(
            "no data to learn from: name a folder of demonstrations (--dataset), or of prior data alone (--prior), or resume a "
            "run (--run R --resume)"
        )
    if not config.dataset and (config.tasks or config.play):
        raise RunError("of prior data alone everything is learned: --tasks and --play need demonstrations (--dataset)")
    torch.set_num_threads(config.threads)
    saved = load_state(run)
    with state_of(run):
        before = _Progress(**saved[1]) if saved else _Progress()
    if saved and before.step >= config.steps:
        return TrainResult(run, before.step, True, before.last)  # hours of prior data need not be read for that
    data = _data(config)
    if before.data not in ("", _described(data)):
        raise RunError(
            f"{run}: the data is not what the run began with: expected {before.data}, found {_described(data)}. Put back what "
            f"was there, or begin another run from these weights (robot-learning train bc --start {run} --run ...)"
        )
    # a run that is gone on with has its normalisation and its tasks in its own policy, whatever became of the one it began with
    start = start_of(str(run / LAST) if config.start and saved else config.start)
    if start is not None:
        data.contract.require(start.contract, f"the policy to go on from, {config.start}")
    run.mkdir(parents=True, exist_ok=True)
    if not started:
        config = _fit_time_limit(config, data, start)
        write_config(run, config)
    return _Loop(config, run, data, saved, start).go()


def _described(data: Demonstrations) -> str:
    """The data in short, the same for the same data."""
    checksum = zlib.crc32(data.actions.tobytes())
    for key in sorted(data.vectors):
        checksum = zlib.crc32(data.vectors[key].tobytes(), checksum)
    return f"{len(data)} frames of {data.num_episodes} episodes of {data.tasks} (checksum {checksum:08x})"


def start_of(folder: str) -> Checkpoint | None:
    """The policy to go on from: that of a run of `train bc`, or of a checkpoint; None for an empty name.

    Raises:
        CheckpointError: there is none. RunError: it is no clone.
    """
    if not folder:
        return None
    base = Path(folder)
    found = read_checkpoint(base / LAST if (base / FILE).is_file() else base)
    if found.config.get("algorithm") != "bc":
        raise RunError(f"{folder}: expected a clone to go on from (robot-learning train bc), found another policy")
    return found


def _data(config: TrainConfig) -> Demonstrations:
    """What is learned from. Prior data alone is learned from as demonstrations are."""
    inputs = config.bc.input_keys(Dataset(config.dataset or config.prior[0]).image_keys)
    judge = relabeller(config.relabel, config.relabel_questions)
    if not config.dataset:
        return load_prior(config.prior, inputs, judge)
    loaded = Demonstrations.load(Dataset(config.dataset), inputs, config.tasks, config.only_success)
    return with_prior(with_play(loaded, config.play, inputs, judge or told_by_play), config.prior, inputs, judge)


class _Loop:
    """The loop over steps, and everything it writes."""

    def __init__(
        self,
        config: TrainConfig,
        run: Path,
        data: Demonstrations,
        saved: tuple[dict[str, Any], dict[str, Any]] | None,
        start: Checkpoint | None,
    ) -> None:
        self.config, self.run, self.data = config, run, data
        rows, self.validation = data.split(config.held_out)
        # what the policy reads was decided at the start; the policy is saved before the state, so it is there
        chosen = None if saved is None else read_checkpoint(run / "checkpoints" / "last").config["selected"]
        self.algorithm = ALGORITHMS[config.algorithm](
            config.bc, data, rows, config.steps, config.seed, selected=chosen, told=Preparation(), start=start
        )
        self.progress = _Progress()
        if saved is not None:
            with state_of(run):
                self.algorithm.load_state(saved[0])
            self.progress = _Progress(**saved[1])
        self.progress.data = _described(data)
        self._began = time.monotonic() - self.progress.seconds
        self._saved = time.monotonic()

    def go(self) -> TrainResult:
        """Run to the end or to Ctrl-C."""
        progress, config = self.progress, self.config
        title = f"train {config.algorithm}"
        log = MetricsLog(self.run, progress.step)
        try:
            with StopRequest() as stop, ProgressBar(title, config.steps, "steps", progress.step) as bar:
                while progress.step < config.steps and not stop.requested:
                    self._step(log)
                    bar.update(progress.step, self._words())
                    if config.evaluate_every and progress.step % config.evaluate_every == 0:
                        self._evaluate(log)
                    if config.keep_every and progress.step % config.keep_every == 0:
                        self._save_policy(f"step_{progress.step}")
                    if time.monotonic() - self._saved > config.save_every:
                        self._save()
            self._save()
        finally:
            log.close()
        return TrainResult(self.run, progress.step, progress.step >= config.steps, progress.last)

    def _step(self, log: MetricsLog) -> None:
        progress = self.progress
        batch = self.algorithm.batch(progress.step)
        metrics = self.algorithm.update(progress.step, batch)
        if not math.isfinite(metrics["loss"]):
            path = self.run / f"diverged_step_{progress.step}.safetensors"
            save_file({k: v.contiguous() for k, v in batch.tensors().items()}, path)
            raise DivergedError(
                f"the loss is {metrics['loss']} at step {progress.step}; its batch is in {path}. "
                f"Try a lower learning rate, and look for outliers with `robot-learning dataset check`."
            )
        progress.step += 1
        progress.count += 1
        for name, value in metrics.items():
            progress.sums[name] = progress.sums.get(name, 0.0) + value
        if progress.step % self.config.log_every == 0 or progress.step == self.config.steps:
            values = {f"train/{k}": v / progress.count for k, v in progress.sums.items()}
            if len(self.validation):
                values |= {f"validation/{k[11:]}": v for k, v in self.algorithm.validate(self.validation).items()}
            progress.last, progress.sums, progress.count = values, {}, 0
            log.log(progress.step, {**values, "time/seconds": time.monotonic() - self._began})

    def _words(self) -> str:
        loss = self.progress.last.get("train/loss")
        words = "" if loss is None else f"loss {loss:.3f}"
        return words + (f" · best success {self.progress.best:.0%}" if self.progress.best >= 0 else "")

    def _evaluate(self, log: MetricsLog) -> None:
        """Success in the simulator, on seeds of its own; the random state of training does not notice."""
        config, progress = self.config, self.progress
        path = self._save_policy("last")
        result = evaluate(path, config.evaluate_tasks, episodes=config.evaluate_episodes, seed=config.evaluate_seed)
        progress.success = result.lines()
        log.log(progress.step, {f"success/{name}": task.rate for name, task in result.tasks.items()})
        if result.rate > progress.best:
            progress.best = result.rate
            self._save_policy("best")

    def _save(self) -> None:
        """The policy first: after a crash between the two, the state is the older one and training overwrites the policy."""
        self._save_policy("last")
        self.progress.seconds = time.monotonic() - self._began
        save_state(self.run, self.algorithm.state(), dataclasses.asdict(self.progress))
        self._saved = time.monotonic()

    def _save_policy(self, name: str) -> Path:
        progress = self.progress
        facts = {
            "Algorithm": self.config.algorithm,
            "Data": f"{Path(self.config.dataset or 'prior').name}: {self.data.num_episodes} episodes, {len(self.data)} frames",
            "Steps": f"{progress.step} of {self.config.steps}",
            "Seed": self.config.seed,
            **{name: f"{value:.4g}" for name, value in progress.last.items()},
        }
        return save_checkpoint(self.run / "checkpoints" / name, self.algorithm.checkpoint(facts, progress.success))


def _fit_time_limit(config: TrainConfig, data: Demonstrations, start: Checkpoint | None, probe: int = 8) -> TrainConfig:
    """Measure a few steps of a throwaway copy and choose how many fit; the copy leaves no trace in the result.

    The fastest step counts: what else the machine happens to do at that moment must not decide how long a policy trains.
    """
    if config.time_limit is None:
        return config
    rows = np.arange(len(data))
    algorithm = ALGORITHMS[config.algorithm](config.bc, data, rows, config.steps, config.seed, start=start)
    seconds = _fastest_seconds(lambda step: algorithm.update(step, algorithm.batch(step)), probe)
    return dataclasses.replace(config, steps=max(1, min(config.steps, int(config.time_limit / seconds))))


def _fastest_seconds(work: Callable[[int], Any], times: int) -> float:
    work(0)  # the first step also allocates and compiles kernels
    marks = [time.perf_counter()]
    for index in range(1, times + 1):
        work(index)
        marks.append(time.perf_counter())
    return float(np.diff(marks).min())
