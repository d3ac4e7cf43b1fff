"""Do the fast gradients of Cal-QL learn the same? Success curves of its modes exact, sampled and literal on one task.

    python benchmarks/calql_modes.py [--save] [--processes 2] [--seeds 5] [--work FOLDER]

The task is a point that must go round a wall, in a room 2 m wide and with the goal behind the wall from where it starts: reward 1
at the goal, 0 else. It costs microseconds a step, so the time goes into the gradient steps that are compared, and it has what the
modes could differ in: a sparse reward, data of which half succeeds, and a policy that follows the critics (with a small imitation
term; without one none of the modes gets round the wall from this data).
The networks are 2x128 and batches 128 to keep it to minutes; the 31 actions of a state and the 4 drawn by the sampled mode are as
by default. Data, evaluation starts and seeds are the same for all modes; the literal mode is plain autograd.

Each mode and seed is a job whose result is a file in the work folder, so a run that was stopped goes on with what is missing. The
last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
import statistics
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import gymnasium
import numpy as np
import torch
from stable_baselines3.common.callbacks import BaseCallback

from robot_learning.algorithms.cal_ql import CalQL, CalQLConfig

RESULTS = Path(__file__).parent / "results"
MODES = ("exact", "sampled", "literal")
OFFLINE, ONLINE, EVERY, STARTS = 1500, 1000, 100, 100
STEP, RADIUS, LONGEST = 0.12, 0.15, 60  # [m] a step, [m] of the goal, steps an episode
SCALE = 10.0  # of the reward when it is learned from; the entropy weight starts at 0.01
GOAL = np.array([-0.7, 0.7])
CORNERS = np.array([[0.7, -0.5], [0.7, 0.5], GOAL])  # the way round the wall


def starts(count: int, rng: np.random.Generator) -> np.ndarray:
    """Positions `(count, 2)` below the wall, on the left."""
    return rng.uniform([-0.9, -0.9], [-0.5, -0.4], (count, 2))


def move(position: np.ndarray, action: np.ndarray) -> np.ndarray:
    """Positions `(..., 2)` a step on; along the wall (x < 0.4, |y| < 0.1) and the sides one slides."""
    after = np.clip(position + STEP * np.clip(action, -1, 1), -1, 1)
    blocked = (after[..., 0] < 0.4) & ((np.abs(after[..., 1]) < 0.1) | (after[..., 1] * position[..., 1] < 0))
    y = np.where(blocked, position[..., 1], after[..., 1])
    within = (after[..., 0] < 0.4) & (np.abs(y) < 0.1)  # came in round the end of the wall
    return np.stack([np.where(within, position[..., 0], after[..., 0]), y], axis=-1)


def arrived(position: np.ndarray) -> np.ndarray:
    return np.linalg.norm(position - GOAL, axis=-1) < RADIUS


class RoundTheWall(gymnasium.Env[np.ndarray, np.ndarray]):
    """The task; `move` and `arrived` are all there is to it."""

    observation_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)
    action_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self.position, self.steps = starts(1, self.np_random)[0], 0
        return self.position.astype(np.float32), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self.position, self.steps = move(self.position, action), self.steps + 1
        done = bool(arrived(self.position))
        told = self.position.astype(np.float32)
        return told, float(done), done, self.steps >= LONGEST and not done, {"is_success": done}


def add_data(model: CalQL, seed: int, episodes: int = 200) -> float:
    """Episodes of a noisy walker that often loses its way; returns the share that arrived."""
    assert model.replay is not None
    rng, arrivals = np.random.default_rng(seed), 0
    for _ in range(episodes):
        way, positions, actions = 0, [starts(1, rng)[0]], []
        noise = rng.uniform(0.3, 2.5)
        while len(actions) < LONGEST and not arrived(positions[-1]):
            if way < len(CORNERS) - 1 and np.linalg.norm(CORNERS[way] - positions[-1]) < 0.25:
                way += 1
            wanted = (CORNERS[way] - positions[-1]) / STEP
            actions.append(np.clip(np.clip(wanted, -1, 1) + noise * rng.standard_normal(2), -1, 1).astype(np.float32))
            positions.append(move(positions[-1], actions[-1]))
        success = bool(arrived(positions[-1]))
        arrivals += success
        rewards = np.zeros(len(actions), np.float32)
        rewards[-1] = success
        observations = np.asarray(positions, np.float32)
        model.replay.add_episode("prior", observations, np.stack(actions), rewards, success, success)
    return arrivals / episodes


def success_rate(model: CalQL) -> float:
    """Share of the fixed starts from which the policy's mode reaches the goal; all at a time."""
    position = starts(STARTS, np.random.default_rng(10_000))
    done = np.zeros(STARTS, bool)
    for _ in range(LONGEST):
        action = model.predict(position.astype(np.float32), deterministic=True)[0]
        position = np.where(done[:, None], position, move(position, action))
        done |= arrived(position)
    return float(done.mean())


class Curve(BaseCallback):
    """Success every `EVERY` updates or steps."""

    def __init__(self) -> None:
        super().__init__()
        self.values: list[float] = []

    def _on_step(self) -> bool:
        if self.n_calls % EVERY == 0:
            self.values.append(success_rate(self.model))  # type: ignore[arg-type]
        return True


def job(mode: str, seed: int, offline: int, online: int) -> dict[str, Any]:
    """One training; `curve` has success after every `EVERY` offline updates, then after every `EVERY` online steps."""
    torch.set_num_threads(1)
    began = time.process_time()
    config = CalQLConfig(
        mode=mode, hidden=(128, 128), penalty_weight=1.0, backup="mode", initial_entropy_weight=0.01,
        actor_learning_rate=1e-3, critic_learning_rate=1e-3, bc_weight=0.2, target_range=(0.0, SCALE),
    )  # fmt: skip
    model = CalQL(
        "MlpPolicy",
        RoundTheWall(),
        config,
        batch_size=128,
        gamma=0.98,
        n_step=5,
        lowest_reward=0.0,
        reward_scale=SCALE,
        imitate=("prior",),
        seed=seed,
    )
    arrivals = add_data(model, seed)
    before, during = Curve(), Curve()
    model.pretrain(steps=offline, callback=before)
    model.learn(online, callback=during)
    seconds = time.process_time() - began
    curve = [*before.values, *during.values]
    return {"mode": mode, "seed": seed, "data": arrivals, "curve": curve, "cpu_seconds": seconds}


def mean_interval(values: list[float]) -> tuple[float, float, float]:
    """Mean and its 95 % interval by Student's t over the seeds."""
    mean = statistics.mean(values)
    if len(values) < 2:
        return mean, mean, mean
    t = {2: 12.71, 3: 4.30, 4: 3.18, 5: 2.78, 6: 2.57, 7: 2.45, 8: 2.36}.get(len(values), 2.3)
    half = t * statistics.stdev(values) / math.sqrt(len(values))
    return mean, mean - half, mean + half


def report(results: list[dict[str, Any]], offline: int, online: int) -> tuple[str, dict[str, Any]]:
    """The table and the summary: means with intervals at each point, and whether those of all modes overlap."""
    points = [("offline", EVERY * (k + 1)) for k in range(offline // EVERY)]
    points += [("online", EVERY * (k + 1)) for k in range(online // EVERY)]
    by_mode = {mode: [r for r in results if r["mode"] == mode] for mode in MODES}
    seeds = min(len(rows) for rows in by_mode.values())
    lines = [f"| success, {seeds} seeds | " + " | ".join(MODES) + " | overlap |", "|---" * (len(MODES) + 2) + "|"]
    overlaps = []
    for k, (phase, count) in enumerate(points):
        bands = [mean_interval([r["curve"][k] for r in by_mode[mode]]) for mode in MODES]
        overlaps.append(max(b[1] for b in bands) <= min(b[2] for b in bands))
        cells = " | ".join(f"{100 * m:.0f} ({100 * max(a, 0):.0f} .. {100 * min(b, 1):.0f})" for m, a, b in bands)
        lines.append(f"| {phase} {count} | {cells} | {'yes' if overlaps[-1] else 'no'} |")
    areas = {mode: mean_interval([statistics.mean(r["curve"]) for r in by_mode[mode]]) for mode in MODES}
    lines.append(
        "| mean of the curve | "
        + " | ".join(f"{100 * m:.1f} ({100 * a:.1f} .. {100 * b:.1f})" for m, a, b in areas.values())
        + " | |"
    )
    cpu = {mode: statistics.mean(r["cpu_seconds"] for r in by_mode[mode]) for mode in MODES}
    lines.append("| CPU seconds a run | " + " | ".join(f"{cpu[mode]:.0f}" for mode in MODES) + " | |")
    summary = {
        "seeds": seeds,
        "points": len(points),
        "points_overlapping": sum(overlaps),
        "mean_of_curve": areas,
        "cpu": cpu,
    }
    return "\n".join(lines), summary


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--offline", type=int, default=OFFLINE)
    parser.add_argument("--online", type=int, default=ONLINE)
    parser.add_argument("--work", type=Path, default=Path("runs/calql_modes"), help="where the jobs' results are kept")
    parser.add_argument("--save", action="store_true", help="write benchmarks/results/calql_modes.*")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    wanted = {
        args.work / f"{mode}_{seed}_{args.offline}_{args.online}.json": (mode, seed)
        for seed in range(args.seeds)
        for mode in MODES
    }
    with ProcessPoolExecutor(args.processes, multiprocessing.get_context("spawn")) as pool:
        running = {
            pool.submit(job, *what, args.offline, args.online): path
            for path, what in wanted.items()
            if not path.exists()
        }
        for future in as_completed(running):
            partial = running[future].with_suffix(".partial")
            partial.write_text(json.dumps(future.result()))
            partial.replace(running[future])
            print(running[future].stem, future.result()["curve"], flush=True)
    results = [json.loads(path.read_text()) for path in wanted]
    text, summary = report(results, args.offline, args.online)
    print(text)
    if args.save:
        (RESULTS / "calql_modes.md").write_text(
            "# Do the modes of Cal-QL learn the same?\n\n"
            "`python benchmarks/calql_modes.py --save`; the task is in its docstring. "
            f"Means and 95 % intervals over the seeds [%], policy's mode from {STARTS} fixed starts.\n\n{text}\n"
        )
        (RESULTS / "calql_modes.json").write_text(json.dumps({**summary, "runs": results}, indent=1) + "\n")
    print(json.dumps(summary))


if __name__ == "__main__":
    main()
