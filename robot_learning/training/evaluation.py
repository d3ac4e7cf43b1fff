"""Evaluation: how often a policy succeeds, with its interval, the same whatever the number of processes."""

from __future__ import annotations

import contextlib
import dataclasses
import multiprocessing
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from robot_learning.contract import IMAGE_PREFIX, STATE, Contract
from robot_learning.policies import Policy, load_policy, read_checkpoint, save_checkpoint
from robot_learning.training.intervals import wilson
from robot_learning.training.progress import ProgressBar
from robot_learning.training.videos import side_by_side, write_video
from robot_learning.training.workers import prepare_worker, starting_workers

MakeEnv = Callable[[str, Contract], gymnasium.Env[Any, Any]]


@dataclass(frozen=True)
class EpisodeResult:
    """One episode: its task, seed, whether it succeeded, its length [ticks] and, if recorded, `(T, H, W, 3)` per camera."""

    task: str
    seed: int
    success: bool
    length: int
    views: list[np.ndarray] = field(default_factory=list, repr=False)


@dataclass(frozen=True)
class TaskResult:
    """The episodes of one task, in the order of their seeds."""

    successes: int
    episodes: int
    rate: float
    interval: tuple[float, float]
    """Wilson's 95 % interval of the rate."""
    mean_length: float
    """Mean length of an episode, failures included [ticks]."""
    failed_seeds: tuple[int, ...]


@dataclass(frozen=True)
class EvaluationResult:
    """The result of each task, and the videos that were saved."""

    tasks: dict[str, TaskResult]
    seed: int
    videos: tuple[Path, ...] = ()

    @property
    def successes(self) -> int:
        """Over all tasks."""
        return sum(task.successes for task in self.tasks.values())

    @property
    def episodes(self) -> int:
        """Over all tasks."""
        return sum(task.episodes for task in self.tasks.values())

    @property
    def rate(self) -> float:
        """Share of all episodes that succeeded."""
        return self.successes / max(self.episodes, 1)

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval of `rate`."""
        return wilson(self.successes, self.episodes)

    def lines(self) -> list[str]:
        """One sentence per task, for people."""
        return [
            f"{name}: {t.successes} of {t.episodes} episodes ({t.rate:.0%}, 95 % interval {t.interval[0]:.0%} to "
            f"{t.interval[1]:.0%}), {t.mean_length:.0f} ticks on average, seeds from {self.seed}"
            for name, t in self.tasks.items()
        ]

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "seed": self.seed,
            "successes": self.successes,
            "episodes": self.episodes,
            "rate": self.rate,
            "interval": list(self.interval),
            "tasks": {
                name: {**vars(t), "interval": list(t.interval), "failed_seeds": list(t.failed_seeds)}
                for name, t in self.tasks.items()
            },
            "videos": [str(path) for path in self.videos],
        }


def make_playroom(task: str, contract: Contract, furniture: int | None = None) -> gymnasium.Env[Any, Any]:
    """The simulated playroom with the robot of `contract` (the policy's), and its cameras at their size.

    `furniture`: seed of where the furniture stands in all episodes; None: elsewhere in each.
    """
    import robot_learning.envs  # noqa: F401  registers the environments

    cameras = tuple(key.removeprefix(IMAGE_PREFIX) for key in contract.images)
    size = next((stream.shape[:2] for stream in contract.images.values()), 96)
    simulated = contract.simulation is not None and STATE in contract.observation
    robot = contract if simulated else contract.name
    look: dict[str, Any] = {"task": task, "cameras": cameras, "image_size": size, "furniture": furniture}
    return gymnasium.make("robot_learning/Playroom-v0", contract=robot, **look)


def evaluate(
    policy: str | Path | Callable[[], Policy],
    tasks: Sequence[str],
    *,
    episodes: int,
    seed: int,
    processes: int = 2,
    make_env: MakeEnv = make_playroom,
    video_dir: Path | None = None,
    videos: int = 2,
    known: Sequence[EpisodeResult] = (),
    on_result: Callable[[EpisodeResult], None] | None = None,
) -> EvaluationResult:
    """Run `episodes` episodes of each task; episode i starts from `env.reset(seed=seed + i)`.

    Args:
        tasks: one that is named twice counts once.
        policy: a checkpoint folder, or a function that makes the policy (importable, as worker processes call it).
        processes: worker processes with one torch thread each; 0 runs in this process.
        make_env: task and the policy's contract -> environment whose `info` has `is_success` (importable).
        video_dir: where the first `videos` successes and as many failures of each task are saved.
        known: results of these episodes from before, which are not run again.
        on_result: called with the result of each episode that was run, in the order of tasks and seeds.

    Raises:
        ContractError: the environment cannot serve the policy. UnknownTaskError: the policy does not know a task.
    """
    tasks = tuple(dict.fromkeys(tasks))  # the same episodes twice would narrow the interval for nothing
    wanted = [(task, seed + index) for task in tasks for index in range(episodes)]
    results = [result for result in known if (result.task, result.seed) in wanted]
    have = {(result.task, result.seed) for result in results}
    jobs = [job for job in wanted if job not in have]
    gallery = _Gallery(video_dir, videos)
    with ProgressBar("evaluate", len(wanted), "episodes", len(results)) as bar:
        for result in _results(_Runner(policy, make_env, video_dir is not None), jobs, processes):
            gallery.offer(result)
            results.append(EpisodeResult(result.task, result.seed, result.success, result.length))
            bar.update(len(results), f"success {sum(r.success for r in results)}/{len(results)}")
            if on_result is not None:
                on_result(results[-1])
    return summarise(results, tasks, seed, tuple(gallery.paths))


def summarise(
    results: Sequence[EpisodeResult], tasks: Sequence[str], seed: int, videos: tuple[Path, ...] = ()
) -> EvaluationResult:
    """Episodes in any order as the result of an evaluation whose seeds start at `seed`."""
    ordered = sorted(results, key=lambda result: result.seed)
    return EvaluationResult({task: _summary([r for r in ordered if r.task == task]) for task in tasks}, seed, videos)


def _summary(results: list[EpisodeResult]) -> TaskResult:
    successes = sum(r.success for r in results)
    return TaskResult(
        successes=successes,
        episodes=len(results),
        rate=successes / max(len(results), 1),
        interval=wilson(successes, len(results)),
        mean_length=float(np.mean([r.length for r in results])) if results else 0.0,
        failed_seeds=tuple(r.seed for r in results if not r.success),
    )


class _Runner:
    """Runs episodes; keeps the policy and one environment per task between them. Pickled empty into each worker."""

    def __init__(self, policy: str | Path | Callable[[], Policy], make_env: MakeEnv, record: bool) -> None:
        self.source, self.make_env, self.record = policy, make_env, record
        self._policy: Policy | None = None
        self._envs: dict[str, gymnasium.Env[Any, Any]] = {}

    def episode(self, task: str, seed: int) -> EpisodeResult:
        """One episode from `env.reset(seed=seed)` to success or the time limit."""
        policy, env = self._parts(task)
        instruction = getattr(getattr(env.unwrapped, "task", None), "instruction", task)
        observation, info = env.reset(seed=seed)
        policy.reset()
        frames, length, over = [], 0, False
        while not over:
            if self.record:
                frames.append([observation[key] for key in policy.contract.images])
            observation, _, terminated, truncated, info = env.step(policy.predict(observation, instruction))
            length, over = length + 1, terminated or truncated
        views = [np.stack(view) for view in zip(*frames, strict=True)]
        return EpisodeResult(task, seed, bool(info["is_success"]), length, views)

    def close(self) -> None:
        """Close the environments."""
        for env in self._envs.values():
            env.close()

    def _parts(self, task: str) -> tuple[Policy, gymnasium.Env[Any, Any]]:
        if self._policy is None:
            self._policy = load_policy(self.source) if isinstance(self.source, (str, Path)) else self.source()
        if task not in self._envs:
            env = self._envs[task] = self.make_env(task, self._policy.contract)
            env.unwrapped.contract.require(self._policy.contract, f"policy {self.source}")  # type: ignore[attr-defined]
        return self._policy, self._envs[task]


_runner: _Runner | None = None  # of a worker process


def _start_worker(runner: _Runner) -> None:
    global _runner
    prepare_worker()
    _runner = runner


def _work(job: tuple[str, int]) -> EpisodeResult:
    assert _runner is not None
    return _runner.episode(*job)


def _results(runner: _Runner, jobs: list[tuple[str, int]], processes: int) -> Iterator[EpisodeResult]:
    """Results in the order of `jobs`."""
    if not jobs:
        return
    if processes == 0:
        with contextlib.closing(runner):
            yield from (runner.episode(*job) for job in jobs)
        return
    # spawned, not forked: a copy of this process's GL context and torch threads would not work
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(processes, len(jobs)), context, _start_worker, (runner,)) as pool:
        try:
            with starting_workers():
                results = pool.map(_work, jobs)
            yield from results
        finally:  # an error or Ctrl-C does not wait for the episodes that have not begun
            pool.shutdown(cancel_futures=True)


class _Gallery:
    """Saves the first few successes and failures of each task."""

    def __init__(self, folder: Path | None, each: int) -> None:
        self.folder, self.each = folder, each
        self.paths: list[Path] = []
        self._count: dict[tuple[str, bool], int] = {}

    def offer(self, result: EpisodeResult) -> None:
        """Save the episode's video if there are not enough of its kind yet."""
        kind = (result.task, result.success)
        if self.folder is None or not result.views or self._count.get(kind, 0) >= self.each:
            return
        self._count[kind] = self._count.get(kind, 0) + 1
        name = f"{result.task}_{'success' if result.success else 'failure'}_seed_{result.seed}.mp4"
        self.paths.append(write_video(self.folder / name, side_by_side(result.views), 10.0))


def record_success(path: str | Path, lines: Iterable[str]) -> None:
    """Write an evaluation's result into the model card of the checkpoint `path`."""
    save_checkpoint(path, dataclasses.replace(read_checkpoint(path), success=list(lines)))
