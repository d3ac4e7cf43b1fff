"""Offline-to-online reinforcement learning: every algorithm on the same data with the same budget.

    python benchmarks/offline_to_online.py [--tasks ...] [--algorithms ...] [--seeds 3] [--processes 2] [--json] [--save]

Tasks are PointMaze medium (pip install gymnasium-robotics==1.4.2; data of a noisy waypoint controller) and tasks of the
playroom from state (20 noisy demonstrations and an hour of play). Every algorithm has 5000 gradient steps on the data,
except BC, whose training on the demonstrations alone has a length of its own, and SAC from scratch, which has no data; then
20,000 steps of the environment. The reinforcement learners' networks are 2 x 128 wide and their batches have 128 rows, so that
a run costs what one of self-imitation costs. Success is measured on 100 fixed episodes, by the policy's mean and, first and
last, by sampling it. Each seed has demonstrations, play, weights and starts of its own, the same for all algorithms.

A job is one algorithm on one task with one seed, in one process with one thread, in a folder under --run. Jobs that are finished
are not repeated, and a benchmark that was stopped or killed goes on where it was; finished jobs that were
saved (--save) are kept in benchmarks/results/offline_to_online_jobs/, so that the grid can be measured in parts.
--selection takes other seeds, for data and
evaluation, than the final results; everything that is tuned is tuned there. --report makes tables and figures of what there is.

From pictures (`self_imitation_images`, only when asked for) there are the same demonstrations and play with two cameras:

    python benchmarks/offline_to_online.py --tasks push_blue_button open_drawer --name offline_to_online_images --save
        --algorithms bc self_imitation self_imitation_images

d3rlpy's CalQL needs an interpreter that has it: python -m venv peers && peers/bin/pip install d3rlpy==2.8.1, then --peer-python.
With --save tables and figures go to benchmarks/results/; with --json the last line is one JSON object.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import argparse
import json
import multiprocessing
import sys
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

from kept_jobs import KeptJobs
from offline_to_online_job import Job, read_result, run_job, write_result
from offline_to_online_learner import Budget
from offline_to_online_learners import ALGORITHMS
from offline_to_online_maze import MAZE
from offline_to_online_problems import Amounts
from offline_to_online_report import figures, summary, table
from rich.console import Console

import robot_learning.envs
from robot_learning.training.progress import ProgressBar
from robot_learning.training.workers import starting_workers

RESULTS = Path(__file__).parent / "results"
TASKS = (MAZE, "rotate_right", "rotate_left", "grasp_upright", "push_blue_button", "sweep_object")
MARKS = (1000, 2000, 5000, 10_000, 20_000)


class Scheduler:
    """Runs jobs in worker processes, so many at a time; a job waits for the one it depends on."""

    def __init__(self, jobs: list[Job], run: Path, processes: int) -> None:
        self.run, self.processes = run, processes
        self.all = jobs
        self.waiting = [job for job in jobs if not self._finished(job)]
        self.running: dict[str, tuple[Job, BaseProcess]] = {}
        self.failed: list[str] = []

    def go(self) -> None:
        """Until every job is finished or has failed."""
        total = round(sum(job.cost for job in self.all))
        with ProgressBar("offline_to_online", total, "s of work", self._done()) as bar:
            try:
                while self.waiting or self.running:
                    self._collect()
                    self._start()
                    bar.update(self._done(), self._words())
                    time.sleep(1.0)
            except KeyboardInterrupt:
                sys.exit("stopped; the same command goes on where it was")
            finally:
                for _, process in self.running.values():
                    process.terminate()
                    process.join()

    def _start(self) -> None:
        names = {job.name for job in self.waiting} | self.running.keys()
        for job in list(self.waiting):
            if len(self.running) == self.processes:
                return
            if f"{job.task}-{ALGORITHMS[job.algorithm].after}-{job.seed}" in names:
                continue
            self.waiting.remove(job)
            context = multiprocessing.get_context("spawn")
            process = context.Process(target=run_job, args=(job, self.run / job.name, self.run / "data"))
            with starting_workers():
                process.start()
            self.running[job.name] = (job, process)

    def _collect(self) -> None:
        for name, (job, process) in list(self.running.items()):
            if process.is_alive():
                continue
            del self.running[name]
            if not self._finished(job):
                self.failed.append(name)
                print(f"{name} failed; see {self.run / name / 'log.txt'}", file=sys.stderr)

    def _finished(self, job: Job) -> bool:
        result = read_result(self.run / job.name)
        if result and not job.measured(result):
            sys.exit(f"{self.run / job.name} was measured with other settings; choose another folder (--run)")
        return bool(result.get("finished"))

    def _done(self) -> int:
        """Of the work, counted by costs; a running job counts by the marks it has passed."""
        return round(sum(job.cost * self._share(job) for job in self.all))

    def _share(self, job: Job) -> float:
        result = read_result(self.run / job.name)
        if result.get("finished") or job.name in self.failed:
            return 1.0
        passed = max((point["step"] for point in result.get("points", [])), default=0)
        return passed / (job.budget.online_steps + job.budget.offline_steps)

    def _words(self) -> str:
        finished = len(self.all) - len(self.waiting) - len(self.running) - len(self.failed)
        words = f"{finished}/{len(self.all)} jobs, now {', '.join(self.running)}"
        return words + (f", {len(self.failed)} failed" if self.failed else "")


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = [MAZE, *robot_learning.envs.TASKS]
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=known, metavar="TASK")
    parser.add_argument("--algorithms", nargs="+", default=None, choices=list(ALGORITHMS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--offline-steps", type=int, default=Budget.offline_steps)
    parser.add_argument("--online-steps", type=int, default=Budget.online_steps)
    parser.add_argument("--episodes", type=int, default=100, help="of an evaluation")
    parser.add_argument("--marks", type=int, nargs="+", default=None, help=f"steps to evaluate at (default: {MARKS})")
    parser.add_argument(
        "--sampled-at", type=int, nargs="+", default=None, help="marks to sample at (default: first and last)"
    )
    parser.add_argument("--minutes", type=float, default=Amounts.minutes, help="of play")
    parser.add_argument("--selection", action="store_true", help="seeds for what is tuned, not for final results")
    parser.add_argument("--peer-python", default="", help="interpreter with d3rlpy; without, it is left out")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--run", type=Path, default=Path("runs/offline_to_online"))
    parser.add_argument("--report", action="store_true", help="measure nothing, report what there is")
    parser.add_argument(
        "--again", action="store_true", help="measure also what is kept in benchmarks/results/NAME_jobs"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object last")
    parser.add_argument("--save", action="store_true", help="write benchmarks/results/NAME.* and NAME_jobs/")
    parser.add_argument("--name", default="offline_to_online", help="of what --save writes")
    return parser.parse_args()


def grid(args: argparse.Namespace) -> list[Job]:
    """Every job, by seed first, so that a part of the grid is one of all tasks and algorithms."""
    budget = Budget(args.offline_steps, args.online_steps, args.peer_python)
    wanted = args.marks or [m for m in MARKS if m <= args.online_steps]
    marks = tuple(sorted({0, *(m for m in wanted if m <= args.online_steps), args.online_steps}))
    sampled = tuple(sorted({0, args.online_steps} if args.sampled_at is None else {*args.sampled_at} & {*marks}))
    names = args.algorithms or [
        name
        for name, algorithm in ALGORITHMS.items()
        if not algorithm.pictures and (args.peer_python or not name.startswith("d3rlpy"))
    ]
    kind, amounts = "selection" if args.selection else "final", Amounts(minutes=args.minutes)
    return [
        Job(name, task, seed, kind, budget, amounts, marks, sampled, args.episodes)
        for seed in range(args.seeds)
        for task in args.tasks
        for name in names
        if task != MAZE or ALGORITHMS[name].maze
    ]


def adopt(jobs: list[Job], kept: KeptJobs, run: Path) -> None:
    """Put what is kept where a job of this run would have put it."""
    for job in jobs:
        if not read_result(run / job.name) and (result := kept.read(job.name, job.facts())):
            (run / job.name).mkdir(parents=True, exist_ok=True)
            write_result(run / job.name, result)


def main() -> None:
    """Data, jobs, report."""
    args = options()
    jobs, kept = grid(args), KeptJobs(RESULTS, args.name)
    if not args.again:
        adopt(jobs, kept, args.run)
    scheduler = Scheduler(jobs, args.run, args.processes)
    if not args.report:
        problems = [(job.problem(args.run / "data"), job.seed) for job in scheduler.waiting]
        for problem, seed in {(p.name, p.pictures, seed): (p, seed) for p, seed in problems}.values():
            problem.collect(seed)
        scheduler.go()
    found = {job.name: result for job in jobs if (result := read_result(args.run / job.name)).get("finished")}
    results = list(found.values())
    if not results:
        sys.exit(f"no job is finished; look at the log.txt of each under {args.run}")
    report = summary(results) | {"failed": scheduler.failed, "missing": len(jobs) - len(results)}
    text = table(report)
    Console(width=220, highlight=False).print(text, markup=False)
    figures(report, RESULTS if args.save else args.run, args.name)
    if args.save:
        for name, result in found.items():
            kept.write(name, result)
        (RESULTS / f"{args.name}.md").write_text(text + "\n")
        (RESULTS / f"{args.name}.json").write_text(json.dumps(report, indent=1) + "\n")
    if args.json:
        print(json.dumps(report))
    sys.exit(1 if scheduler.failed else 0)


if __name__ == "__main__":
    main()
