"""How much cloning a few demonstrations leaves to be learned: behaviour cloning from state, one policy per task.

    python benchmarks/headroom.py --demonstrations 10 --episodes 50 --json

For each task: scripted demonstrations, behaviour cloning with the defaults from state, fresh episodes from other seeds. Prints
a row per task with its Wilson 95 % interval; the last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import gymnasium
import numpy as np
import torch

import robot_learning.envs
from robot_learning.algorithms.behaviour_cloning import BehaviourCloning
from robot_learning.algorithms.cloning_config import BehaviourCloningConfig
from robot_learning.algorithms.demonstrations import Demonstrations
from robot_learning.contract import ENVIRONMENT_STATE, STATE
from robot_learning.data import Dataset
from robot_learning.policies import load_policy, save_checkpoint
from robot_learning.training.collection import collect_demonstrations
from robot_learning.training.intervals import wilson

TEST_SEED = 800_000


def clone(task: str, demonstrations: int, steps: int, episodes: int, seed: int) -> int:
    """Successes of a policy cloned from `demonstrations` of `task`, of `episodes`."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "dataset"
        collect_demonstrations(root, {task: 1000 * seed}, demonstrations, cameras=())
        data = Demonstrations.load(Dataset(root), [STATE, ENVIRONMENT_STATE])
        learner = BehaviourCloning(BehaviourCloningConfig(inputs="state"), data, np.arange(len(data)), steps, seed)
        for step in range(steps):
            learner.update(step, learner.batch(step))
        save_checkpoint(Path(folder) / "policy", learner.checkpoint({}, []))
        policy = load_policy(Path(folder) / "policy")
    env = gymnasium.make("robot_learning/Playroom-v0", task=task, disable_env_checker=True)
    successes = 0
    for episode in range(episodes):
        observation, info = env.reset(seed=TEST_SEED + episode)
        policy.reset()
        over = False
        while not over:
            action = policy.predict(observation, info["instruction"])
            observation, _, terminated, truncated, info = env.step(action)
            over = terminated or truncated
        successes += int(info["is_success"])
    return successes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--demonstrations", type=int, default=10)
    parser.add_argument("--episodes", type=int, default=50)
    parser.add_argument("--steps", type=int, default=2000, help="gradient steps")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tasks", nargs="+", default=list(robot_learning.envs.TASKS))
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--json", action="store_true", help="print one JSON object last")
    parser.add_argument("--output", type=Path, help="also write the table (Markdown) and the JSON beside it")
    args = parser.parse_args()
    lines = [f"| task | cloned from {args.demonstrations} demonstrations | 95 % interval |", "|---|---|---|"]
    print("\n".join(lines), flush=True)
    rates = {}
    with ProcessPoolExecutor(args.processes, multiprocessing.get_context("spawn")) as pool:
        job = (args.demonstrations, args.steps, args.episodes, args.seed)
        futures = {task: pool.submit(clone, task, *job) for task in args.tasks}
        for task, future in futures.items():
            successes = future.result()
            low, high = wilson(successes, args.episodes)
            rates[task] = successes / args.episodes
            lines.append(f"| {task} | {successes}/{args.episodes} | {low:.2f} .. {high:.2f} |")
            print(lines[-1], flush=True)
    result = {
        "tasks": rates,
        **{k: v for k, v in vars(args).items() if k in ("demonstrations", "episodes", "steps", "seed")},
    }
    if args.output:
        args.output.with_suffix(".md").write_text("\n".join(lines) + "\n")
        args.output.with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n")
    if args.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
