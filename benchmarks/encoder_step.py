"""What a gradient step of a clone that trains its own image encoder costs, in float32 and in bfloat16.

    python benchmarks/encoder_step.py --json

Random pictures of two cameras of 96 x 96, one thread, in turns in one process; CPU time of the step (without making the batch),
medians over all turns. The last line is one JSON object.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import argparse
import json
import time

import numpy as np
import torch

from robot_learning.algorithms.behaviour_cloning import BehaviourCloning
from robot_learning.algorithms.cloning_config import BehaviourCloningConfig
from robot_learning.algorithms.demonstrations import Demonstrations
from robot_learning.contract import IMAGE_PREFIX, STATE, Contract
from robot_learning.networks.encoders import multiplies_bfloat16

FRAMES, EPISODE, STEPS = 600, 60, 20
KEYS = [STATE, IMAGE_PREFIX + "front", IMAGE_PREFIX + "wrist"]


def random_data() -> Demonstrations:
    """Ten episodes of noise with the shapes of the playroom's."""
    rng, contract = np.random.default_rng(0), Contract.load("ur5e_2f85").select(KEYS)
    width = contract.observation[STATE].shape[0]
    return Demonstrations(
        contract=contract,
        images={key: rng.integers(0, 256, (FRAMES, 96, 96, 3), np.uint8) for key in KEYS[1:]},
        vectors={STATE: rng.standard_normal((FRAMES, width)).astype(np.float32)},
        actions=rng.uniform(-1, 1, (FRAMES, len(contract.action.names))).astype(np.float32),
        ends=(np.arange(FRAMES) // EPISODE + 1) * EPISODE,
        tasks=["open the drawer"],
        task_of=np.zeros(FRAMES, int),
    )


def costs(learner: BehaviourCloning) -> list[float]:
    """CPU time of each of some steps [ms]."""
    found = []
    for step in range(STEPS):
        batch = learner.batch(step)
        began = time.process_time()
        learner.update(step, batch)
        found.append(1e3 * (time.process_time() - began))
    return found


def main() -> None:
    """Both in turns."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="print one JSON object last")
    args = parser.parse_args()
    torch.set_num_threads(1)
    data = random_data()
    learners = {
        precision: BehaviourCloning(BehaviourCloningConfig(precision=precision), data, np.arange(FRAMES), 1000, 0)
        for precision in ("float32", "bfloat16")
    }
    found: dict[str, list[float]] = {name: [] for name in learners}
    for turn in range(args.turns + 1):
        for name, learner in learners.items():
            measured = costs(learner)
            found[name] += measured if turn else []  # the first warms up
    told = {f"{name}_ms": float(np.median(values)) for name, values in found.items()}
    told |= {"ratio": told["float32_ms"] / told["bfloat16_ms"], "multiplies_bfloat16": multiplies_bfloat16()}
    print(f"float32 {told['float32_ms']:.1f} ms, bfloat16 {told['bfloat16_ms']:.1f} ms: {told['ratio']:.2f} times")
    if args.json:
        print(json.dumps(told))


if __name__ == "__main__":
    main()
