"""Success of the scripted demonstrator on every task of the playroom, on seeds that were not used while writing it.

    python benchmarks/demonstrator.py --episodes 100 --json

Prints a row per task with its Wilson 95 % interval and its ways; the last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import gymnasium
import numpy as np

import robot_learning.envs
from robot_learning.envs.demonstrator import WAYS, Demonstrator
from robot_learning.training.intervals import wilson

FIRST_SEED = 700_000  # tuning used seeds below 1,000


def run(task: str, episodes: int, first_seed: int) -> list[tuple[int, bool, int]]:
    """`(way, success, ticks)` of each episode."""
    env = gymnasium.make("robot_learning/Playroom-v0", task=task, disable_env_checker=True)
    rows = []
    for seed in range(first_seed, first_seed + episodes):
        env.reset(seed=seed)
        demonstrator = Demonstrator(env.unwrapped.room, np.random.default_rng(seed))
        demonstrator.reset(task)
        way, ticks, over, info = demonstrator.way, 0, False, {}
        while not over:
            _, _, terminated, truncated, info = env.step(demonstrator.act())
            ticks, over = ticks + 1, terminated or truncated
        rows.append((way % WAYS.get(task, 2), bool(info["is_success"]), ticks))
    env.close()
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--episodes", type=int, default=100, help="episodes of each task")
    parser.add_argument("--tasks", nargs="+", default=list(robot_learning.envs.TASKS), help="which tasks")
    parser.add_argument("--first-seed", type=int, default=FIRST_SEED)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--json", action="store_true", help="print one JSON object last")
    parser.add_argument("--output", type=Path, help="also write the table (Markdown) and the JSON beside it")
    args = parser.parse_args()
    lines = ["| task | success | 95 % interval | by way | ticks (median) |", "|---|---|---|---|---|"]
    print("\n".join(lines), flush=True)
    rates = {}
    with ProcessPoolExecutor(args.processes, multiprocessing.get_context("spawn")) as pool:
        futures = {task: pool.submit(run, task, args.episodes, args.first_seed) for task in args.tasks}
        for task, future in futures.items():
            rows = future.result()
            successes = sum(success for _, success, _ in rows)
            low, high = wilson(successes, len(rows))
            ways = sorted({way for way, _, _ in rows})
            by_way = ", ".join(f"{np.mean([s for w, s, _ in rows if w == way]):.2f}" for way in ways)
            median = int(np.median([ticks for _, _, ticks in rows]))
            rates[task] = successes / len(rows)
            lines.append(f"| {task} | {successes}/{len(rows)} | {low:.3f} .. {high:.3f} | {by_way} | {median} |")
            print(lines[-1], flush=True)
    result = {"tasks": rates, "min": min(rates.values()), "episodes": args.episodes, "first_seed": args.first_seed}
    if args.output:
        args.output.with_suffix(".md").write_text("\n".join(lines) + "\n")
        args.output.with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n")
    if args.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
