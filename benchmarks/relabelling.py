"""How far a reward model's word on what was done in play agrees with the simulator's.

    python benchmarks/relabelling.py --reward runs/reward --play datasets/play [--json]

Of the attempts that the play's own labels call successes, at the tasks whose question the model knows, how many does relabelling
(training/relabelling.py) find, ending within 1.2 seconds of them; and how many of what it finds are none of these. What ended
within the first second of an attempt was done before it began and is left out.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from robot_learning.algorithms.demonstrations import Achieved, told_by_play
from robot_learning.data import Dataset
from robot_learning.rewards import load_reward
from robot_learning.training.intervals import wilson
from robot_learning.training.relabelling import Relabeller

NEAR, SHORTEST = 12, 10  # [frames]


def main() -> None:
    """Compare, and say how they agree."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reward", type=Path, required=True)
    parser.add_argument("--play", type=Path, required=True, help="that the model was not trained on")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    args = parser.parse_args()
    relabeller, play = Relabeller(load_reward(args.reward)), Dataset(args.play)
    tasks = {goal.instruction for goal in relabeller.goals}
    known = [done for done in told_by_play(play, linger=0) if done.task in tasks]
    true = [done for done in known if done.end - done.start > SHORTEST]
    found = [Achieved(start, end - relabeller.linger, task) for start, end, task in relabeller(play)]
    recalled, right = sum(_near(done, found) for done in true), sum(_near(done, known) for done in found)
    told = {
        "tasks": sorted(tasks),
        "frames": play.num_frames,
        "successes": len(true),
        "recalled": recalled,
        "recall_interval": wilson(recalled, len(true)),
        "found": len(found),
        "right": right,
        "precision_interval": wilson(right, len(found)),
    }
    if args.json:
        print(json.dumps(told))
    else:
        print("\n".join(f"{name}: {value}" for name, value in told.items()))


def _near(done: Achieved, others: list[Achieved]) -> bool:
    return any(other.task == done.task and abs(other.end - done.end) <= NEAR for other in others)


if __name__ == "__main__":
    main()
