"""One job of offline_to_online.py: an algorithm on a task with a seed, in a folder of its own.

result.json      what was measured so far; complete when "finished"
state_<step>/    what to go on from after a kill: the learner at the last mark that was reached; deleted at the end
log.txt          what the job printed

A job that was killed goes on from its last mark, in a new episode; what was evaluated is not evaluated again.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from offline_to_online_learner import Budget, Clock, Learner
from offline_to_online_learners import ALGORITHMS
from offline_to_online_problems import Amounts, Problem, problem_named

from robot_learning.training.workers import prepare_worker


@dataclass(frozen=True)
class Job:
    """What is measured, and how. `marks`: steps of practice after which it is evaluated; `sampled`: where sampling is as well."""

    algorithm: str
    task: str
    seed: int
    kind: str
    budget: Budget
    amounts: Amounts
    marks: tuple[int, ...]
    sampled: tuple[int, ...]
    episodes: int

    @property
    def name(self) -> str:
        """Of its folder."""
        return f"{self.task}-{self.algorithm}-{self.seed}"

    @property
    def cost(self) -> float:
        """Roughly its CPU seconds; see `Algorithm.cost`."""
        offline, online = ALGORITHMS[self.algorithm].cost
        return (offline * self.budget.offline_steps + online * self.budget.online_steps) / 1e3 + self._evaluation()

    def _evaluation(self) -> float:
        algorithm = ALGORITHMS[self.algorithm]
        marks = len(self.marks) if algorithm.online else 1
        return 0.2 * self.episodes * (marks + (len(self.sampled) if algorithm.samples else 0))

    def problem(self, data: Path) -> Problem:
        """With its data in the folder `data`."""
        return problem_named(self.task, self.kind, data, self.amounts, ALGORITHMS[self.algorithm].pictures)

    def facts(self) -> dict[str, Any]:
        """What must be equal for results to belong together; the interpreter of the peer is not part of it."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        plain["budget"].pop("peer_python")
        if not ALGORITHMS[self.algorithm].samples:
            plain.pop("sampled")
        if settings := ALGORITHMS[self.algorithm].settings:
            plain["settings"] = json.loads(json.dumps(settings))
        return plain

    def measured(self, result: dict[str, Any]) -> bool:
        """Whether `result` is one of this job."""
        return all(result["job"].get(name) == value for name, value in self.facts().items())


def read_result(folder: Path) -> dict[str, Any]:
    """What a job has measured so far."""
    path = folder / "result.json"
    return json.loads(path.read_text()) if path.is_file() else {}


def write_result(folder: Path, result: dict[str, Any]) -> None:
    """Whole or not at all."""
    partial = folder / "result.new"
    partial.write_text(json.dumps(result))
    os.replace(partial, folder / "result.json")


def run_job(job: Job, folder: Path, data: Path) -> None:
    """The body of a worker process; what goes wrong is in log.txt and the exit code."""
    prepare_worker()
    folder.mkdir(parents=True, exist_ok=True)
    log = os.open(folder / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    _Run(job, folder, data).go()


class _Run:
    def __init__(self, job: Job, folder: Path, data: Path) -> None:
        self.job, self.folder = job, folder
        self.problem, self.algorithm = job.problem(data), ALGORITHMS[job.algorithm]
        self.result = read_result(folder) or {"job": job.facts(), "points": [], "finished": False}
        self.learner: Learner = self.algorithm.make(self.problem, job.seed, job.budget, folder)
        self.clock: Clock = self.learner.clock

    def go(self) -> None:
        """Every mark in turn: learn up to it, save, evaluate."""
        marks = self.job.marks if self.algorithm.online else (0,)
        reached = self._load()
        for mark in marks:
            if mark > reached:
                self._learn(mark)
            self._evaluate(mark)
        self.result["finished"] = True
        write_result(self.folder, self.result)
        for state in self.folder.glob("state_*"):
            shutil.rmtree(state)

    def _load(self) -> int:
        """The mark that was reached before, -1 for none."""
        states = sorted(int(p.name.split("_")[1]) for p in self.folder.glob("state_*") if p.suffix != ".new")
        if not states:
            self.result["points"] = []
            return -1
        folder = self.folder / f"state_{states[-1]}"
        self.learner.load(folder)
        self.clock.restore(json.loads((folder / "clock.json").read_text()))
        return states[-1]

    def _learn(self, mark: int) -> None:
        if mark == 0:
            if self.algorithm.offline:
                self.learner.offline()
            self.result["offline_seconds"] = self.clock.seconds["updates"]
        else:
            self.learner.online(mark)
        partial = self.folder / f"state_{mark}.new"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        self.learner.save(partial)
        (partial / "clock.json").write_text(json.dumps(self.clock.read()))
        partial.rename(self.folder / f"state_{mark}")
        for state in self.folder.glob("state_*"):
            if state.name != f"state_{mark}":
                shutil.rmtree(state)

    def _evaluate(self, mark: int) -> None:
        kinds = ["mean", *(["sampled"] if self.algorithm.samples and mark in self.job.sampled else [])]
        done = {(p["step"], p["policy"]) for p in self.result["points"]}
        for kind in kinds:
            if (mark, kind) in done:
                continue
            version = self.learner.version()
            known = [p for p in self.result["points"] if version is not None and p.get("version") == version]
            if known:  # the same policy in the same episodes
                successes, lengths = known[0]["successes"], known[0]["lengths"]
            else:
                with self.clock("evaluation"), torch.random.fork_rng(devices=[]):
                    torch.manual_seed(self.job.seed)
                    successes, lengths = self._episodes(kind == "sampled")
            point = {"step": mark, "policy": kind, "successes": successes, "lengths": lengths, "version": version}
            self.result["points"].append(point)
            self.result |= {"clock": self.clock.read(), "at": time.time()}
            write_result(self.folder, self.result)

    def _episodes(self, sample: bool) -> tuple[list[int], list[int]]:
        env, successes, lengths = self.problem.tasked(self.problem.bare()), [], []
        for episode in range(self.job.episodes):
            observation, info = env.reset(seed=self.problem.evaluation_seed + episode)
            self.learner.begin(sample)
            over, length = False, 0
            while not over:
                observation, _, terminated, truncated, info = env.step(self.learner.act(observation, sample))
                over, length = terminated or truncated, length + 1
            successes.append(int(info["is_success"]))
            lengths.append(length)
        env.close()
        return successes, lengths
