"""How good the embedded reward model is on what policies in training see, and how much of it stays under other conditions.

    python benchmarks/reward_quality.py --json

Trains on demonstrations, failures and play of pairs of tasks that undo each other (scripted, recorded at --size pixels), and
asks all questions about frames of half-trained clones: as in the data, by a camera 5 cm and 5 degrees away, in other light,
and with stray objects. For each of the three, it then learns from --answers labelled pictures of that condition, as
`robot-learning reward train --uncertain` does, and is asked again. Truth is the simulator's state, frame by frame, with no frame
left out; "clear" are the frames in which a centimetre would not turn it. Rates are means over questions and over seeds.
With --folder, whatever is done is kept, and an interrupted run goes on.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from reward_quality_answers import answered_pictures
from reward_quality_judging import RATES, answers_of, judge, table, together
from reward_quality_scenes import CONDITIONS, SHIFTED, half_trained, record

from robot_learning.policies import Policy
from robot_learning.rewards import EmbeddedConfig, EmbeddedReward, HeadTraining, load_reward
from robot_learning.training.collection import collect_demonstrations
from robot_learning.training.play_collection import collect_play
from robot_learning.training.reward_training import RewardRun, train_reward

PAIRS = (
    ("open_drawer", "close_drawer"),
    ("sweep_object", "grasp_lift"),
    ("open_sliding", "close_sliding"),
    ("put_into_shelf", "pull_out_of_shelf"),
    ("rotate_left", "rotate_right"),
)
TEST_SEED = 700_000
ANSWER_RATE, ANSWER_WEIGHT = 5e-4, 50  # how it goes on with answers
KEPT = "result.json"
RESULT_NEUTRAL = ("folder", "output", "json", "seeds")  # settings that do not change a seed's result


def data_of(folder: Path, tasks: tuple[str, ...], args: argparse.Namespace, seed: int) -> tuple[Path, ...]:
    """Demonstrations with failures, and play, recorded once into `folder`."""
    demonstrations, play = folder / "demonstrations", folder / "play"
    seeds = {task: 10_000 * seed + 1000 * k for k, task in enumerate(tasks)}
    collect_demonstrations(demonstrations, seeds, args.demonstrations, args.size, tuple(args.cameras), args.failures)
    if not args.play:
        return (demonstrations,)
    collect_play(play, args.play, 10_000 * seed + 500, args.size, tuple(args.cameras))
    return demonstrations, play


def speed(model: EmbeddedReward, size: int) -> float:
    """CPU milliseconds for one picture of each camera and all questions, the median of 30."""
    noise = np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)
    times = []
    for _ in range(33):
        begun = time.process_time()
        model.probabilities(dict.fromkeys(model.cameras, noise))
        times.append(time.process_time() - begun)
    return 1000 * float(np.median(times[3:]))


def adapt(
    run: RewardRun,
    model: EmbeddedReward,
    policies: dict[str, Policy],
    args: argparse.Namespace,
    folder: Path,
    test: int,
) -> dict[str, tuple[int, EmbeddedReward]]:
    """By shifted condition: how many pictures were answered, and the model that also learned from them."""
    found = {}
    stills = record(
        folder / "unsure", policies, model.cameras, args.answer_episodes, args.ticks, args.size, test, SHIFTED
    )
    for condition in SHIFTED:
        kept = folder / f"uncertain_{condition}"
        count = answered_pictures(kept, model, stills[condition], list(policies), args.answers)
        again = replace(
            run,
            uncertain=(kept,),
            start=run.output,
            output=folder / f"model_{condition}",
            training=replace(
                run.training, steps=args.answer_steps, learning_rate=ANSWER_RATE, answered_weight=ANSWER_WEIGHT
            ),
        )
        found[condition] = count, train_reward(again)
    return found


def measure(args: argparse.Namespace, folder: Path, seed: int) -> dict[str, Any]:
    """Record, train, adapt and judge with one seed."""
    asked = tuple(task for pair in PAIRS[: args.pairs] for task in pair)
    roots = data_of(folder, asked, args, seed)
    run = RewardRun(
        dataset=roots,
        output=folder / "model",
        ask=asked,
        frames=args.frames,
        cache=folder / "features",
        tolerance=args.tolerance,
        network=EmbeddedConfig(cameras=tuple(args.cameras), image_size=args.model_size, fine=not args.coarse),
        training=HeadTraining(
            steps=args.steps,
            folds=args.folds,
            false_positive_rate=args.rate,
            changed_false_positive_rate=2 * args.rate,
            seed=seed,
        ),
    )
    model = load_reward(args.model) if args.model else train_reward(run)
    assert isinstance(model, EmbeddedReward)
    clones = folder / f"clones_{args.clone_steps}"
    policies = {task: half_trained(roots[0], task, args.clone_steps, seed, clones / task) for task in asked}
    first = TEST_SEED + 2000 * seed
    stills = record(folder / "test", policies, model.cameras, args.episodes, args.ticks, args.size, first)
    adapted = adapt(run, model, policies, args, folder, first + 1000) if args.answers else {}
    results = {"before": {}, "after": {}, "nominal_after": {}}  # type: dict[str, dict[str, Any]]
    for condition in CONDITIONS:
        models = [model, *([adapted[condition][1]] if condition in adapted else [])]
        p = answers_of(models, stills[condition], asked)
        for when, one, seen in zip(("before", "after"), models, p, strict=False):
            results[when][condition] = judge(one.threshold, seen, stills[condition], asked)
        if condition == "nominal":
            for name, (_, one) in adapted.items():
                seen = answers_of([one], stills[condition], asked)[0]
                results["nominal_after"][name] = {
                    k: v for k, v in judge(one.threshold, seen, stills[condition], asked).items() if k in RATES
                }
    return {
        **results,
        "frames": {condition: len(stills[condition].truth) for condition in CONDITIONS},
        "answers": {condition: count for condition, (count, _) in adapted.items()},
        "threshold": model.threshold,
        "ms_per_frame": speed(model, args.size),
        "card": {k: v for k, v in model.facts.items() if k != "quality"},
    }


def kept(args: argparse.Namespace, folder: Path, seed: int) -> dict[str, Any]:
    """The result of a seed, from its folder if it was measured with these settings."""
    settings = {k: str(v) for k, v in vars(args).items() if k not in RESULT_NEUTRAL}
    file = folder / KEPT
    if file.is_file():
        found: dict[str, Any] = json.loads(file.read_text())
        if found["settings"] == settings:
            return found
    found = {"seed": seed, "settings": settings, **measure(args, folder, seed)}
    file.write_text(json.dumps(found, indent=1) + "\n")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--demonstrations", type=int, default=10, help="of each task")
    parser.add_argument("--failures", type=int, default=20, help="of each task")
    parser.add_argument("--play", type=float, default=5.0, help="minutes of play to learn from too")
    parser.add_argument("--frames", type=int, default=6000, help="of those, to learn from")
    parser.add_argument("--cameras", nargs="+", default=["front", "wrist"])
    parser.add_argument("--size", type=int, default=160, help="height and width of the pictures recorded and judged")
    parser.add_argument("--model-size", type=int, default=160, help="height and width that the model resizes them to")
    parser.add_argument("--coarse", action="store_true", help="only features of stride 16")
    parser.add_argument("--steps", type=int, default=1500, help="gradient steps of each head")
    parser.add_argument("--folds", type=int, default=3, help="heads")
    parser.add_argument(
        "--rate", type=float, default=0.02, help="false positives wanted held out; of changed copies, twice"
    )
    parser.add_argument("--tolerance", type=float, default=0.0, help="of the labels in training [m]")
    parser.add_argument("--clone-steps", type=int, default=600, help="gradient steps of the policies that are watched")
    parser.add_argument("--episodes", type=int, default=10, help="episodes watched for each task")
    parser.add_argument("--ticks", type=int, default=80, help="of each")
    parser.add_argument(
        "--answers", type=int, default=20, help="pictures of a shifted condition that are answered; 0: none"
    )
    parser.add_argument(
        "--answer-episodes", type=int, default=2, help="episodes of each task that they are chosen from"
    )
    parser.add_argument("--answer-steps", type=int, default=300, help="gradient steps of each head on from there")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--model", type=Path, help="judge this reward model instead of training one")
    parser.add_argument("--folder", type=Path, help="keep and reuse data, features and results here")
    parser.add_argument("--json", action="store_true", help="print one JSON object last")
    parser.add_argument("--output", type=Path, help="also write the table (Markdown) and the JSON beside it")
    args = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary)
        summary = together([kept(args, folder / f"seed_{seed}", seed) for seed in args.seeds])
    print(table(summary))
    if args.output:
        args.output.with_suffix(".md").write_text(table(summary) + "\n")
        args.output.with_suffix(".json").write_text(json.dumps(summary, indent=1) + "\n")
    if args.json:
        print(json.dumps(summary))


if __name__ == "__main__":
    main()
