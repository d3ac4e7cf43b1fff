"""Offline-to-online reinforcement learning: a run that pretrains on data and practises in an environment.

config.yaml                   everything that fixes the result
metrics.jsonl, events.out.*   the curves, as text and for TensorBoard
training_state.safetensors    networks, optimisers, random generators, counters
replay/                       data and practice, saved as it grows
checkpoints/last, offline, best, step_N

A run stops and saves at the end of an episode, where the algorithm, the replay buffer and the number of the next episode are all
there is to know; so it goes on as if it had not stopped. After a kill it goes on from the last save.
"""

from __future__ import annotations

import dataclasses
import math
import os
import shutil
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger

from robot_learning.algorithms.demonstrations import DemonstrationError, Demonstrations
from robot_learning.algorithms.offline_to_online import ONLINE, OfflineToOnline
from robot_learning.contract import STATE
from robot_learning.data import Dataset
from robot_learning.data.replay import ReplayBuffer
from robot_learning.envs.task_observation import SeededEpisodes
from robot_learning.folders import LAST
from robot_learning.policies import save_checkpoint
from robot_learning.training.config import begin_or_resume
from robot_learning.training.interrupt import StopRequest
from robot_learning.training.metrics import MetricsLog
from robot_learning.training.pausing import tell
from robot_learning.training.practice_data import add_data, instructions_of, make_algorithm, make_env
from robot_learning.training.practice_env import (
    contract_of,
    evaluate_between,
    find_wrapper,
    on_robot,
    require_ready,
    require_serves,
    stop_waiting_when,
    without_simulator,
)
from robot_learning.training.practice_schedule import Attempt
from robot_learning.training.progress import ProgressBar
from robot_learning.training.reset_free import ResetFree
from robot_learning.training.rl_config import RLConfig, name_of, read_rl_config, write_rl_config
from robot_learning.training.run_state import FILE as STATE_FILE
from robot_learning.training.run_state import RunError, load_state, save_state, state_of

REPLAY, UNFINISHED = "replay", "replay.unfinished"
ROOM = 1000  # frames beyond those of the steps that are left: the last episode may go on past them
RECENT = 20  # episodes that the success shown in the progress bar is taken over


@dataclass(frozen=True)
class RLResult:
    """Where the run is, how far each phase got, whether it is finished, and the last evaluation (None without one)."""

    run: Path
    offline_steps: int
    online_steps: int
    finished: bool
    success: float | None


@dataclass
class _Progress:
    """What the training state keeps besides tensors; JSON-able."""

    steps: int = 0
    episodes: int = 0
    seconds: float = 0.0
    best: float = -1.0
    success: list[str] = field(default_factory=list)
    rate: float | None = None
    evaluated_at: int = 0
    kept_at: int = 0
    recent: list[bool] = field(default_factory=list)
    past: list[tuple[str, bool, str]] = field(default_factory=list)
    parts: int | None = None
    """The number after that of the replay buffer's last part; None in states from before it was kept."""


class _StopTraining(Exception):
    """Raised between two rounds of collecting and updating, where the state is whole."""


def learn(config: RLConfig, resume: bool = False) -> RLResult:
    """Pretrain for `offline_steps`, practise for `online_steps`, until both are done or Ctrl-C is pressed.

    Args:
        resume: go on with the run in `config.run` where there is one; its own config.yaml then holds, not `config`.

    Raises:
        RunError: the run exists and `resume` is false, or there is nothing to start from. DivergedError: a loss is not finite.
        ContractError, ReplayError, DatasetError: the data does not fit. GraphIncompleteError: a robot cannot be practised on.
    """
    config, started = begin_or_resume(config, resume, read_rl_config)
    config, run = without_simulator(config), Path(config.run)
    torch.set_num_threads(config.threads)
    env = make_env(config)
    try:
        if config.start and (Path(config.start) / LAST).exists():
            require_serves(env, config.env, Path(config.start) / LAST)
        algorithm = make_algorithm(config, env)
        if started:
            _drop_unfinished(run)
        progress = _restore(config, algorithm, env)
        _leave_alone(env, config, run, progress)
        if algorithm.num_timesteps < config.online_steps:
            require_ready(env, config.tasks)
        run.mkdir(parents=True, exist_ok=True)
        if not started:
            write_rl_config(run, config)
        return _Loop(config, run, env, algorithm, progress).go()
    finally:
        env.close()


def _parts(run: Path) -> dict[int, Path]:
    """The parts of the run's replay buffer by their numbers."""
    return {int(path.name.split("-")[1]): path for path in (run / REPLAY).glob("part-*.safetensors")}


def _drop_unfinished(run: Path) -> None:
    """Take out of the replay buffer what a killed save put there before its state: those steps are taken again.

    A buffer without any state is the beginning of a first save, and is put aside: data and practice make it anew.
    """
    saved = load_state(run)
    if saved is None:
        if (run / REPLAY).exists():
            shutil.rmtree(run / UNFINISHED, ignore_errors=True)
            os.replace(run / REPLAY, run / UNFINISHED)
        return
    with state_of(run):
        known = _Progress(**saved[1]).parts
    for number, path in _parts(run).items():
        if known is not None and number >= known:
            path.unlink()


def _restore(config: RLConfig, algorithm: OfflineToOnline, env: SeededEpisodes) -> _Progress:
    """What the run itself has saved, else what the run it starts from has, else the data."""
    for folder in (Path(config.run), Path(config.start)) if config.start else (Path(config.run),):
        saved = load_state(folder)
        if saved is None:
            continue
        with state_of(folder):
            algorithm.load_state(saved[0])
            progress = _Progress(**saved[1])
        algorithm.load_replay_buffer(folder / REPLAY)
        return progress if folder == Path(config.run) else _Progress(episodes=progress.episodes)
    if config.start:
        raise RunError(
            f"{config.start} has no {STATE_FILE} to go on from; name the folder of a run of `robot-learning train`"
        )
    add_data(config, algorithm, env)
    return _Progress()


def _leave_alone(env: SeededEpisodes, config: RLConfig, run: Path, progress: _Progress) -> None:
    """Where nobody resets: begin episodes as demonstrations do, and go on in the scene that the last one left."""
    alone = find_wrapper(env, ResetFree)
    if alone is None:
        return
    try:
        shown = [Demonstrations.load(Dataset(folder), [STATE]) for folder in config.dataset]
    except DemonstrationError as error:  # failures are enough for a critic
        tell(f"Episodes begin about the usual place, as the data does not say where demonstrations began: {error}")
    else:
        if shown:  # play alone is data, too
            alone.begin_as(Demonstrations.join(shown))
    alone.notes_ends = True
    if not alone.recall(run, [Attempt(task, solved, before) for task, solved, before in progress.past]):
        tell("The scene was not kept, so practice begins with a full reset, counted as an intervention.")


class _Loop(BaseCallback):
    """Watches over both phases: shows progress, logs, saves, evaluates, and stops where the state is whole."""

    def __init__(
        self, config: RLConfig, run: Path, env: SeededEpisodes, algorithm: OfflineToOnline, progress: _Progress
    ) -> None:
        super().__init__()
        self.config, self.run, self.env, self.algorithm, self.progress = config, run, env, algorithm, progress
        algorithm.diverged_folder = run
        algorithm.set_logger(Logger(folder=None, output_formats=[]))
        self._stop: StopRequest | None = None
        self._bar: ProgressBar | None = None
        self._at_end = True  # of an episode: nothing is under way
        self._rollout_from = 0  # step of practice
        self._began = time.monotonic() - progress.seconds
        self._saved = time.monotonic()
        self._recent = deque(progress.recent, maxlen=RECENT)
        self._alone = find_wrapper(env, ResetFree)

    @property
    def step(self) -> int:
        """Offline updates and steps of practice together, which the curves are drawn over."""
        return self.algorithm.offline_updates + self.algorithm.num_timesteps

    def go(self) -> RLResult:
        """Run to the end or to Ctrl-C."""
        config, algorithm = self.config, self.algorithm
        self._log = MetricsLog(self.run, self.step)
        finished = False
        try:
            with StopRequest() as stop:
                self._stop = stop
                stop_waiting_when(self.env, lambda: stop.requested)
                try:
                    self._pretrain()
                    self._practise()
                    finished = True
                except _StopTraining:
                    pass
            last = self.progress.evaluated_at < algorithm.num_timesteps or self.progress.rate is None
            if finished and config.evaluate_every and last:
                self._evaluate()
            self._save()
        finally:
            self._log.close()
        rate = self.progress.rate
        return RLResult(self.run, algorithm.offline_updates, algorithm.num_timesteps, finished, rate)

    def _pretrain(self) -> None:
        if self.algorithm.offline_updates >= self.config.offline_steps:
            return
        title = f"train {name_of(self.config)}"
        with ProgressBar(title, self.config.offline_steps, "updates", self.algorithm.offline_updates) as self._bar:
            self.algorithm.pretrain(steps=self.config.offline_steps, callback=self)
        self._save_policy("offline")
        self._save()

    def _practise(self) -> None:
        """`learn` up to the number of steps in all."""
        algorithm, wanted = self.algorithm, self.config.online_steps
        if algorithm.num_timesteps >= wanted:
            return
        if self.config.evaluate_every and not algorithm.num_timesteps:
            self._evaluate()
        assert algorithm.replay is not None
        left = wanted - algorithm.num_timesteps
        algorithm.replay.reserve(ONLINE, 2 * left + ROOM)  # a frame a step, and one more each episode
        self.env.episode = self.progress.episodes
        self.env.env.episodes = self.progress.episodes  # type: ignore[attr-defined]
        with ProgressBar(f"practise {name_of(self.config)}", wanted, "steps", algorithm.num_timesteps) as self._bar:
            algorithm.learn(left, callback=self, log_interval=None, reset_num_timesteps=False)  # type: ignore[arg-type]
        self._log_metrics()

    # --- what Stable-Baselines3 calls ------------------------------------------------------------------------------------

    def _on_rollout_start(self) -> None:
        """Between two rounds: the updates of the last step are done."""
        assert self._stop is not None
        self._rollout_from = self.algorithm.num_timesteps
        if not self._at_end:
            return
        if self._stop.requested:
            raise _StopTraining
        practised, config, progress = self.algorithm.num_timesteps, self.config, self.progress
        if config.evaluate_every and practised >= progress.evaluated_at + config.evaluate_every:
            self._evaluate()
        if config.keep_every and practised >= progress.kept_at + config.keep_every:
            progress.kept_at = practised - practised % config.keep_every
            self._save_policy(f"step_{progress.kept_at}")
        if time.monotonic() - self._saved > config.save_every:
            self._save()

    def _on_rollout_end(self) -> None:
        """Updates are next: on a robot those of a whole episode, which Ctrl-C need not wait for."""
        if not on_robot(self.config.env):
            return
        assert self._stop is not None and self._bar is not None
        if self._stop.requested:
            raise _StopTraining
        practised = self.algorithm.num_timesteps
        self.algorithm.gradient_steps = self.config.updates_per_step * (practised - self._rollout_from)
        self._bar.update(practised, f"{self._words()} · learns, the robot holds")

    def _on_step(self) -> bool:
        assert self._bar is not None
        dones = self.locals.get("dones")
        if dones is None:  # an update on data alone
            self._bar.update(self.algorithm.offline_updates, self._words())
        else:
            self._at_end = bool(dones[0])
            if self._at_end:
                self.progress.episodes += 1
                info = self.locals["infos"][0]
                if not info.get("held"):  # the policy has not failed when the robot was stopped
                    self._recent.append(bool(info.get("is_success", False)))
            self._bar.update(self.algorithm.num_timesteps, self._words())
        if self.step % self.config.log_every == 0:
            self._log_metrics()
        return True

    # --- what is written --------------------------------------------------------------------------------------------------

    def _words(self) -> str:
        parts = []
        if self._recent:
            parts.append(f"success {sum(self._recent)}/{len(self._recent)}")
        if self.progress.rate is not None:
            parts.append(f"evaluated {self.progress.rate:.0%}")
        return " · ".join(parts)

    def _log_metrics(self) -> None:
        values = {name: float(value) for name, value in self.algorithm.logger.name_to_value.items()}
        values = {name: value for name, value in values.items() if name.startswith("train/") and math.isfinite(value)}
        self.algorithm.logger.name_to_value.clear()
        self.algorithm.logger.name_to_count.clear()
        if self._recent and self.algorithm.num_timesteps:
            values["practice/success"] = sum(self._recent) / len(self._recent)
            if self._alone is not None:
                values["practice/interventions"] = self._alone.interventions
        if values:
            self._log.log(self.step, {**values, "time/seconds": time.monotonic() - self._began})

    def _evaluate(self) -> None:
        config, progress, practised = self.config, self.progress, self.algorithm.num_timesteps
        result = evaluate_between(self._save_policy("last"), config, config.autonomy.furniture)
        progress.success, progress.rate = result.lines(), result.rate
        progress.evaluated_at = practised - practised % config.evaluate_every
        self._log.log(self.step, {f"success/{name}": task.rate for name, task in result.tasks.items()})
        if result.rate > progress.best:
            progress.best = result.rate
            self._save_policy("best")

    def _save(self) -> None:
        """Policy and replay first: after a crash before the last rename the state is the older one.

        It knows which parts of the replay buffer are its own, so going on takes out those that came after it.
        """
        self._save_policy("last")
        replay: ReplayBuffer | None = self.algorithm.replay
        assert replay is not None
        replay.save(self.run / REPLAY)
        self.progress.seconds, self.progress.recent = time.monotonic() - self._began, list(self._recent)
        self.progress.steps = self.algorithm.num_timesteps
        self.progress.parts = max(_parts(self.run), default=-1) + 1
        if self._alone is not None:
            self.progress.past = [(attempt.task, attempt.solved, attempt.before) for attempt in self._alone.past]
            self._alone.save(self.run, len(self._alone.past))
        save_state(self.run, self.algorithm.state(), dataclasses.asdict(self.progress))
        self._saved = time.monotonic()

    def _save_policy(self, name: str) -> Path:
        config, algorithm = self.config, self.algorithm
        facts: dict[str, Any] = {
            "Algorithm": name_of(config),
            "Data": ", ".join(Path(folder).name for folder in (*config.dataset, *config.play)),
            "Offline updates": algorithm.offline_updates,
            "Practice": f"{algorithm.num_timesteps} steps in {self.progress.episodes} episodes",
            "Seed": config.seed,
        }
        made = algorithm.checkpoint(
            contract_of(self.env),
            instructions_of(self.env),
            sample=config.sample,
            facts=facts,
            success=self.progress.success,
        )
        return save_checkpoint(self.run / "checkpoints" / name, made)
