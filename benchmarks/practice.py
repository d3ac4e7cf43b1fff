"""Practice without resets from pictures and proprioception: forward, backward, forward again, judged by a reward model.

    python benchmarks/practice.py [--pairs open_drawer ...] [--seeds 0 1 2] [--variants model truth ...] [--save] [--json]

For each pair of tasks and seed a desk of its own: the furniture stands where the seed puts it. There are 10 + 10 demonstrations,
each second one in the scene that the one before has left, and 20 + 20 failures. Prior data, the same for all, is from other
desks: three hours of play, three with the block only, and 300 demonstrations of each of its tasks; a generalist is cloned from
these once. Then, at each desk: a reward model, of what was recorded there and, from elsewhere, an hour of the play and, where
the block is needed, an hour of play there and back, with the pair's tasks only, and the demonstrations; a clone of what was shown
there alone (BC); and a clone that goes on from the generalist, of the same as the reward model, as each of self-imitation does.
Variants: `model`, the whole recipe; `truth`, the simulator judges instead of the reward model; `resets`, the reward model judges
but arm and objects are put anew for each episode; `no_prior`, practice begins with BC; `rlpd` and `cal_ql`, reinforcement
learning from the pictures (SAC with prior data, Cal-QL) in the place of self-imitation, from the same data. Policies are
evaluated at that desk, with resets of arm and objects, on episodes that nothing else uses, by the simulator's verdict; BC and
the last one also with retries. Beside them a clone as BC is, without prior data, of the demonstrations and the successes of
practice.

A job is one variant on one pair with one seed, in one process with one thread, in a folder below --run; what is finished is not
repeated, and what was stopped or killed goes on. --report measures nothing and reports what there is.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import argparse
import contextlib
import json
import multiprocessing
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from kept_jobs import KeptJobs
from practice_prior import AMOUNTS, at_a_desk, collect, for_all
from practice_report import NAME, summary, write
from practice_rl import practise_by_rl, practised_by_rl
from reward_quality import PAIRS

from robot_learning.algorithms.demonstrations import Demonstrations
from robot_learning.contract import STATE
from robot_learning.data import Dataset
from robot_learning.policies import Blending, Retrying, load_policy
from robot_learning.rewards import EmbeddedConfig
from robot_learning.training.collection import collect_demonstrations, collect_there_and_back
from robot_learning.training.config import TrainConfig
from robot_learning.training.evaluation import evaluate, make_playroom
from robot_learning.training.offline import train
from robot_learning.training.practice_env import Autonomy
from robot_learning.training.practice_schedule import ScheduleConfig
from robot_learning.training.reward_training import RewardRun, train_reward
from robot_learning.training.self_imitation import practise
from robot_learning.training.self_imitation_run import from_clone, read_run

RESULTS = Path(__file__).parent / "results"
RL = ("rlpd", "cal_ql")
VARIANTS = {
    "model": Autonomy(reset_free=True, reward="reward"),
    "truth": Autonomy(reset_free=True),
    "resets": Autonomy(reward="reward"),
    "no_prior": Autonomy(reset_free=True, reward="reward"),
    **dict.fromkeys(RL, Autonomy(reset_free=True, reward="reward")),
}
DATA_SEED, TEST_SEED, FURNITURE = 30_000, 950_000, 700
GENERAL_STEPS = 60_000  # gradient steps of the generalist
RECOVER = {"sweep_object": ("open_drawer",), "put_into_shelf": ("open_sliding",)}  # when it gets nowhere
JUDGED = 9000  # frames that a reward model learns from
CLONE_STEPS, ROUND_STEPS = 1000, 1000  # of a clone that goes on from it, before and in practice
DROPOUT, DECAY = 0.1, {"flow": 1.0}  # of the generalist and of what goes on from it; weights of older chunks by head
AT_THE_DESK: dict[str, Any] = {"prior_share": 0.75, "learning_rate": 3e-4}
RESULT = "result.json"
LIMIT = 150  # ticks of an episode of practice at most; most end before, when an attempt has had its time
ROUND, ALONE_STEPS = 5000, 2000  # steps of practice between trainings; of a clone from scratch
MARGIN = 0.01  # [m]; see docs/rewards.md


@dataclass(frozen=True)
class Job:
    """One variant on one pair with one seed."""

    pair: tuple[str, str]
    seed: int
    variant: str
    steps: int
    marks: int
    episodes: int
    size: int
    head: str
    general_steps: int

    @property
    def name(self) -> str:
        """Of its folder."""
        return f"{self.pair[0]}-{self.seed}-{self.variant}"

    @property
    def general(self) -> str:
        """Folder of the generalist that it goes on from."""
        return f"general-{self.head}-{self.general_steps}"

    def network(self) -> dict[str, Any]:
        """Settings of the generalist's network, and of those that go on from it."""
        blending = Blending(decay=DECAY[self.head]) if self.head in DECAY else Blending()
        return {"dropout": DROPOUT, "head": self.head, "blending": blending}

    def facts(self) -> dict[str, Any]:
        """What must be equal for results to belong together."""
        amounts = [*AMOUNTS, JUDGED, CLONE_STEPS, ROUND_STEPS, ROUND]
        recipe = [
            *amounts,
            "begins as demonstrations do",
            "looks from home",
            "shown there and back",
            "unwinds its wrist",
            "short attempts, without noise; one task's failures",
            "practice among prior data, three quarters of a batch",
            *RECOVER.get(self.pair[0], ()),
        ]
        return {**vars(self), "pair": list(self.pair), "desk": self.furniture, "recipe": recipe}

    @property
    def furniture(self) -> int:
        """Seed of where the furniture stands."""
        return FURNITURE + self.seed

    @property
    def known(self) -> tuple[str, ...]:
        """All tasks that are practised, those that recover among them."""
        return (*self.pair, *RECOVER.get(self.pair[0], ()))

    @property
    def basis(self) -> str:
        """Of the folder with what all its variants begin with."""
        return f"{self.pair[0]}-{self.seed}"


def begin(job: Job, folder: Path, root: Path) -> tuple[Path, Path]:
    """Data, reward model and clones of a pair and seed, made once; runs of the clone without and with prior data."""
    beside = at_a_desk(root, job.pair[0])
    data, reward = folder / "data", folder / "reward"
    seeds = {task: DATA_SEED + 2000 * job.seed + 1000 * k for k, task in enumerate(job.pair)}
    look: dict[str, Any] = {"image_size": job.size, "furniture": job.furniture}
    collect_there_and_back(
        data, job.pair, seeds[job.pair[0]], episodes=10, furniture=job.furniture, image_size=job.size
    )
    collect_demonstrations(data, seeds, episodes=10, failures=20, **look)
    if not (reward / "config.json").exists():
        look = EmbeddedConfig(image_size=job.size, cameras=("front", "wrist"))
        run = RewardRun(
            dataset=(data, *beside),
            output=reward,
            ask=job.known,
            cache=folder / "features",
            margin=MARGIN,
            network=look,
            frames=JUDGED,
        )
        train_reward(run)
    alone = TrainConfig(dataset=str(data), run=str(folder / "bc"), steps=ALONE_STEPS, threads=1, seed=job.seed)
    train(replace(alone, bc=replace(alone.bc, encoder="frozen")), resume=True)
    if job.variant == "no_prior":
        return folder / "bc", folder / "bc"
    prior, start, run = tuple(map(str, beside)), str(root / job.general), folder / f"clone-{job.general}"
    clone = replace(alone, run=str(run), steps=CLONE_STEPS, prior=prior, start=start)
    train(replace(clone, bc=replace(clone.bc, **job.network(), **AT_THE_DESK)), resume=True)
    return folder / "bc", run


def generalist(job: Job, root: Path) -> None:
    """Clone all that succeeded in the prior data, once for all jobs."""
    prior = tuple(map(str, for_all(root)))
    config = TrainConfig(prior=prior, run=str(root / job.general), steps=job.general_steps, threads=1)
    train(replace(config, bc=replace(config.bc, **job.network())), resume=True)


def finished(job: Job, root: Path) -> dict[str, Any]:
    """The result of a job that has ended; empty while it has not.

    Raises:
        SystemExit: it was measured with other settings.
    """
    known = root / job.name / RESULT
    if not known.exists():
        return {}
    result: dict[str, Any] = json.loads(known.read_text())
    wanted = json.loads(json.dumps(job.facts()))
    if other := [key for key, value in wanted.items() if result["job"].get(key) != value]:
        sys.exit(f"{known} was measured with other settings ({', '.join(other)}); take another --run, or remove it")
    return result


def work(job: Job, root: Path) -> None:
    """Practise and evaluate; the result is written last."""
    folder, basis = root / job.name, root / job.basis
    if finished(job, root):
        return
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "log.txt").open("a") as log, contextlib.redirect_stderr(log), contextlib.redirect_stdout(log):
        began = time.process_time()
        alone, clone = begin(job, basis, root)
        autonomy = VARIANTS[job.variant]
        reward = str(basis / "reward") if autonomy.reward else ""
        knows_more = job.variant not in ("no_prior", *RL)  # than the tasks of its pair
        recover = ScheduleConfig(recover=RECOVER.get(job.pair[0], ()) if knows_more else ())
        autonomy = replace(autonomy, schedule=recover, reward=reward, furniture=job.furniture, episode_steps=LIMIT)
        run, every, data = folder / "run", job.steps // job.marks, basis / "data"
        if job.variant in RL:
            beside = at_a_desk(root, job.pair[0])
            policies = practise_by_rl(job.variant, run, job.pair, data, beside, autonomy, job.steps, every, job.seed)
            told = practised_by_rl(run, job.steps)
        else:
            policies, told = imitate_itself(job, clone, run, autonomy), practised(run)
        result = {"job": job.facts(), **told, "points": []}
        result["bc"] = evaluated(job, alone / "checkpoints" / "last", 0)["successes"]
        for name, policy in (("bc_retry", alone / "checkpoints" / "last"), ("end_retry", policies[job.steps])):
            plans = job.variant not in RL or name == "bc_retry"  # only policies that plan ahead try again
            result[name] = evaluated(job, policy, 0, data)["successes"] if plans else None
        if job.variant == "model":
            result["bc_practised"] = evaluated(job, cloned_anew(job, folder, data, run), 0)["successes"]
        for step in range(0, job.steps + 1, every):
            result["points"].append(evaluated(job, policies[step], step))
        result["cpu_seconds"] = time.process_time() - began
    partial = (folder / RESULT).with_suffix(".tmp")
    partial.write_text(json.dumps(result))
    os.replace(partial, folder / RESULT)


def imitate_itself(job: Job, clone: Path, run: Path, autonomy: Autonomy) -> dict[int, Path]:
    """Practise on from the clone; policies by steps of practice."""
    config = from_clone(clone, str(run), job.steps)
    steps, start = (ALONE_STEPS, "") if job.variant == "no_prior" else (ROUND_STEPS, str(run.parents[1] / job.general))
    settings = replace(
        config.settings, round_steps=ROUND, gradient_steps=steps, most_gradient_steps=steps, noisy_share=0.0
    )
    config = replace(config, tasks=job.pair, autonomy=autonomy, settings=settings, pretrained=start)
    if not practise(config, resume=True).finished:
        raise KeyboardInterrupt  # stopped; the same command goes on
    return {ROUND * k: run / "rounds" / f"round_{k}" for k in range(job.steps // ROUND + 1)}


def cloned_anew(job: Job, folder: Path, data: Path, run: Path) -> Path:
    """A clone as BC is, of the demonstrations and of what practice called a success, without prior data."""
    alone = TrainConfig(
        dataset=str(data), run=str(folder / "bc_practised"), steps=ALONE_STEPS, threads=1, seed=job.seed
    )
    config = replace(alone, play=(str(run / "practice"),), bc=replace(alone.bc, encoder="frozen"))
    train(config, resume=True)
    return Path(config.run) / "checkpoints" / "last"


def evaluated(job: Job, policy: Path, step: int, retry: Path | None = None) -> dict[str, Any]:
    """Successes of each task, in the order of the episodes' seeds; kept beside the policy.

    `retry`: it tries again when an attempt takes longer than these demonstrations.
    """
    kept = policy.with_name(f"{policy.name}{'_retry' if retry else ''}_success.json")
    if not kept.exists():
        room, source = partial(make_playroom, furniture=job.furniture), partial(tries_again, policy, retry)
        acting = source if retry else policy
        outcome = evaluate(acting, job.pair, episodes=job.episodes, seed=TEST_SEED, processes=0, make_env=room)
        rates = {}
        for task, told in outcome.tasks.items():
            failed = set(told.failed_seeds)
            rates[task] = [int(TEST_SEED + i not in failed) for i in range(job.episodes)]
        kept.write_text(json.dumps(rates))
    return {"step": step, "successes": json.loads(kept.read_text())}


def tries_again(policy: Path, data: Path) -> Retrying:
    """The policy with retries; all of them know the same of how long an attempt takes, that of the demonstrations."""
    clone = load_policy(policy)
    shown = Demonstrations.load(Dataset(data), [STATE])
    clone.retry_plan = shown.retry_plan()
    return Retrying(clone)


def practised(run: Path) -> dict[str, Any]:
    """What the episodes of practice tell: help, and how far the judge was wrong."""
    dataset = Dataset(run / "practice")
    told = [dataset.episode_info(episode) for episode in range(dataset.num_episodes)]
    said = np.asarray(dataset.episode_success, bool)
    truth = np.array([info.get("true_success", bool(s)) for info, s in zip(told, said, strict=True)], bool)
    return {
        "steps": dataset.num_frames,
        "episodes": len(said),
        "interventions": sum(info.get("before") == "person" for info in told),
        "resets": 0 if read_run(run).autonomy.reset_free else len(said),
        "said": int(said.sum()),
        "false_success": int((said & ~truth).sum()),
        "missed_success": int((truth & ~said).sum()),
    }


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", nargs="+", default=[pair[0] for pair in PAIRS], choices=[pair[0] for pair in PAIRS])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="100 and up: for what is tuned")
    parser.add_argument("--variants", nargs="+", default=["model"], choices=list(VARIANTS))
    parser.add_argument("--steps", type=int, default=30_000)
    parser.add_argument("--marks", type=int, default=3, help="times at which it is evaluated, the end among them")
    parser.add_argument("--episodes", type=int, default=50, help="of each task, at each mark")
    parser.add_argument("--size", type=int, default=96, help="height and width of the pictures [pixel]")
    parser.add_argument("--head", default="flow", choices=["flow", "mixture", "l1"], help="of all but BC")
    parser.add_argument("--general-steps", type=int, default=GENERAL_STEPS, help="gradient steps of the generalist")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--run", type=Path, default=Path("runs/practice_benchmark"))
    parser.add_argument("--report", action="store_true", help="measure nothing, report what there is")
    parser.add_argument(
        "--again", action="store_true", help="measure also what is kept in benchmarks/results/practice_jobs"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object last")
    parser.add_argument(
        "--save", action="store_true", help=f"write the table, the figure and the JSON to {RESULTS.name}/"
    )
    return parser.parse_args()


def main() -> None:
    """Run what is missing, then report."""
    args = options()
    if args.steps % (args.marks * ROUND):
        sys.exit(
            f"--steps {args.steps} --marks {args.marks}: evaluations come after rounds of {ROUND} steps; 30000 and 3 fit"
        )
    pairs = [pair for pair in PAIRS if pair[0] in args.pairs]
    jobs = [
        Job(pair, seed, variant, args.steps, args.marks, args.episodes, args.size, args.head, args.general_steps)
        for seed in args.seeds
        for variant in args.variants
        for pair in pairs
    ]
    kept = KeptJobs(RESULTS, NAME)
    known = {} if args.again else {job.name: kept.read(job.name, job.facts()) for job in jobs}
    if not args.report:
        go([job for job in jobs if not known.get(job.name)], args.run, args.processes)
    for job in jobs:
        known[job.name] = finished(job, args.run) or known.get(job.name, {})
    found = {name: result for name, result in known.items() if result}
    if not found:
        sys.exit(f"{args.run} has no finished job yet")
    told = summary(list(found.values()))
    if args.save:
        for name, result in found.items():
            kept.write(name, result)
    write(told, RESULTS if args.save else args.run)
    if args.json:
        print(json.dumps(told))


def go(jobs: list[Job], root: Path, processes: int) -> None:
    """All jobs, those of one pair and seed one after the other, as they share what they begin with."""
    if not jobs:
        return
    chains: dict[str, list[Job]] = {}
    for job in jobs:
        chains.setdefault(job.basis, []).append(job)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, context) as pool:
        for future in as_completed(list(collect(root, jobs[0].size, pool))):
            future.result()
        pool.submit(generalist, jobs[0], root).result()
        futures = {pool.submit(_chain, chain, root): name for name, chain in chains.items()}
        for done, future in enumerate(as_completed(futures), 1):
            future.result()
            print(f"{done}/{len(chains)} finished: {futures[future]}", file=sys.stderr, flush=True)


def _chain(jobs: list[Job], root: Path) -> None:
    for job in jobs:
        work(job, root)


if __name__ == "__main__":
    main()
