"""How good the embedded reward model is on what policies in training see, and how much of it stays under other conditions.

    python benchmarks/reward_quality.py --pairs 2 --json

Trains on demonstrations, failures and play of pairs of tasks that undo each other (scripted, recorded at --size pixels), and
asks all questions about frames of half-trained clones: as in the data, by a camera 5 cm and 5 degrees away, in other light,
and with stray objects. Truth is the simulator's state, frame by frame, with no frame left out. "Macro": mean over questions.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from reward_quality_scenes import CONDITIONS, SHIFTED, Watched, half_trained, watch

from robot_learning.rewards import EmbeddedConfig, EmbeddedReward, HeadTraining, load_reward, quality
from robot_learning.training.collection import collect_demonstrations
from robot_learning.training.play_collection import collect_play
from robot_learning.training.reward_evaluation import runs_of
from robot_learning.training.reward_training import RewardRun, train_reward

PAIRS = (
    ("open_drawer", "close_drawer"),
    ("sweep_object", "grasp_lift"),
    ("open_sliding", "close_sliding"),
    ("put_into_shelf", "pull_out_of_shelf"),
    ("rotate_left", "rotate_right"),
)
TEST_SEED = 700_000


def data_of(folder: Path, tasks: tuple[str, ...], args: argparse.Namespace) -> tuple[Path, ...]:
    """Demonstrations with failures, and play, recorded once into `folder`."""
    demonstrations, play = folder / "demonstrations", folder / "play"
    seeds = {task: 10_000 * args.seed + 1000 * k for k, task in enumerate(tasks)}
    collect_demonstrations(demonstrations, seeds, args.demonstrations, args.size, tuple(args.cameras), args.failures)
    if not args.play:
        return (demonstrations,)
    collect_play(play, args.play, 10_000 * args.seed + 500, args.size, tuple(args.cameras))
    return demonstrations, play


def judge(threshold: float, seen: Watched, asked: tuple[str, ...]) -> dict[str, Any]:
    """Errors per question, in the mean over questions, and over whole episodes."""
    p, truth = seen.probabilities, seen.answers.astype(int)
    each = {name: quality(p[:, q], truth[:, q], threshold).to_dict() for q, name in enumerate(asked)}
    macro = {
        key: float(np.mean([entry[key] for entry in each.values() if entry[key] is not None]))
        for key in ("false_positive_rate", "false_negative_rate", "auc")
    }
    names = ("episodes", "done", "missed_ends", "false_ends")
    return {"questions": each, **macro, **dict(zip(names, _ends(threshold, seen), strict=True))}


def _ends(threshold: float, seen: Watched) -> list[int]:
    """Episodes, done in truth, done but never called done, and called done by two frames in a row while it was not."""
    counts = np.zeros(4, int)
    for episode in np.unique(seen.episodes):
        inside = seen.episodes == episode
        q = int(seen.tasks[inside][0])
        truth = seen.answers[inside, q]
        called = np.flatnonzero(runs_of(seen.probabilities[inside, q] >= threshold, 2))
        done = bool(truth.any())
        counts += [1, done, done and not len(called), bool(len(called)) and not truth[called[0]]]
    return counts.tolist()


def speed(model: EmbeddedReward, size: int) -> float:
    """CPU milliseconds for one picture of each camera and all questions, the median of 30."""
    noise = np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)
    times = []
    for _ in range(33):
        begun = time.process_time()
        model.probabilities(dict.fromkeys(model.cameras, noise))
        times.append(time.process_time() - begun)
    return 1000 * float(np.median(times[3:]))


def measure(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Record, train, watch and judge."""
    asked = tuple(task for pair in PAIRS[: args.pairs] for task in pair)
    roots = data_of(folder, asked, args)
    output = args.model or folder / "model"
    if not args.model:
        run = RewardRun(
            dataset=roots,
            output=output,
            ask=asked,
            cache=folder / "features",
            tolerance=args.tolerance,
            network=EmbeddedConfig(cameras=tuple(args.cameras), image_size=args.model_size),
            training=HeadTraining(steps=args.steps, folds=args.folds, seed=args.seed),
        )
        train_reward(run)
    model = load_reward(output)
    policies = {
        task: half_trained(roots[0], task, args.clone_steps, args.seed, folder / "clones" / task) for task in asked
    }
    seen = watch(model, policies, args.episodes, args.ticks, args.size, TEST_SEED + 1000 * args.seed)
    results = {condition: judge(model.threshold, seen[condition], asked) for condition in CONDITIONS}
    shift = {
        k: float(np.mean([results[c][k] for c in SHIFTED])) for k in ("false_positive_rate", "false_negative_rate")
    }
    nominal = results["nominal"]
    return {
        "fpr": nominal["false_positive_rate"],
        "fnr": nominal["false_negative_rate"],
        "fpr_shift": shift["false_positive_rate"],
        "fnr_shift": shift["false_negative_rate"],
        "false_success_episodes": nominal["false_ends"] / max(nominal["episodes"], 1),
        "ms_per_frame": speed(model, args.size),
        "frames": {condition: len(seen[condition].answers) for condition in CONDITIONS},
        "conditions": results,
        "card": {k: v for k, v in model.facts.items() if k != "quality"},
        "settings": {k: v for k, v in vars(args).items() if isinstance(v, int | float | str)},
    }


def table(summary: dict[str, Any]) -> str:
    """Markdown: a line for each question, the conditions beside each other."""
    head = " | ".join(f"{c} ({summary['frames'][c]} frames)" for c in CONDITIONS)
    lines = [f"| false positives / false negatives / AUC [%] | {head} |", "|---|" + "---|" * len(CONDITIONS)]
    for name in (*summary["conditions"]["nominal"]["questions"], "macro"):
        cells = []
        for condition in CONDITIONS:
            entry = summary["conditions"][condition]
            entry = entry if name == "macro" else entry["questions"][name]
            rates = (entry[k] for k in ("false_positive_rate", "false_negative_rate", "auc"))
            cells.append(" / ".join("-" if r is None else f"{100 * r:.1f}" for r in rates))
        lines.append(f"| {name} | {' | '.join(cells)} |")
    n = summary["conditions"]["nominal"]
    lines.append("")
    lines.append(
        f"Two frames in a row end an episode: {n['false_ends']} of {n['episodes']} episodes ended as a success while it was not, "
        f"{n['missed_ends']} of {n['done']} successes never noticed. {summary['ms_per_frame']:.1f} ms CPU a frame."
    )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--demonstrations", type=int, default=10, help="of each task")
    parser.add_argument("--failures", type=int, default=20, help="of each task")
    parser.add_argument("--play", type=float, default=5.0, help="minutes of play to learn from too")
    parser.add_argument("--cameras", nargs="+", default=["front"])
    parser.add_argument("--size", type=int, default=160, help="height and width of the pictures recorded and judged")
    parser.add_argument("--model-size", type=int, default=160, help="height and width that the model resizes them to")
    parser.add_argument("--steps", type=int, default=1500, help="gradient steps of each head")
    parser.add_argument("--folds", type=int, default=3, help="heads")
    parser.add_argument("--tolerance", type=float, default=0.0, help="of the labels in training [m]")
    parser.add_argument("--clone-steps", type=int, default=600, help="gradient steps of the policies that are watched")
    parser.add_argument("--episodes", type=int, default=20, help="episodes watched for each task")
    parser.add_argument("--ticks", type=int, default=100, help="of each")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--model", type=Path, help="judge this reward model instead of training one")
    parser.add_argument("--folder", type=Path, help="keep and reuse data and features here")
    parser.add_argument("--json", action="store_true", help="print one JSON object last")
    parser.add_argument("--output", type=Path, help="also write the table (Markdown) and the JSON beside it")
    args = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        summary = measure(args, args.folder or Path(temporary))
    print(table(summary))
    if args.output:
        args.output.with_suffix(".md").write_text(table(summary) + "\n")
        args.output.with_suffix(".json").write_text(json.dumps(summary, indent=1) + "\n")
    if args.json:
        print(json.dumps(summary))


if __name__ == "__main__":
    main()
