"""Speed of the playroom against OGBench's scene-v0, both in this run, in alternation, on one core each.

    python benchmarks/env_speed.py --json

Measured is CPU time of this process (time.process_time), so that other work on the machine does not count; simulated seconds
are control ticks times their length (ours 0.1 s, OGBench's 0.05 s). "With cameras": two 96x96 pictures a tick, ours through
`cameras=("front", "wrist")`; OGBench's scene-v0 rendered as it ships (its default renderer settings) at 96x96, twice a tick.
Both get random actions and a reset every 100 ticks (not counted). Ratios are ours / OGBench's; the last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import gymnasium  # noqa: E402
import numpy as np  # noqa: E402

import robot_learning.envs  # noqa: E402, F401  registers the environments

OURS_TICK, OGBENCH_TICK = 0.1, 0.05  # [s]


class Ours:
    """The playroom, state only or with two cameras."""

    tick = OURS_TICK

    def __init__(self, cameras: bool) -> None:
        names = ("front", "wrist") if cameras else ()
        self.env = gymnasium.make("robot_learning/Playroom-v0", cameras=names, image_size=96, disable_env_checker=True)

    def reset(self, seed: int) -> None:
        self.env.reset(seed=seed)

    def step(self, action: np.ndarray) -> None:
        self.env.step(action)


class OGBench:
    """OGBench's scene-v0 in its data-collection mode (no goal), state only or rendered twice a tick at 96x96."""

    tick = OGBENCH_TICK

    def __init__(self, cameras: bool) -> None:
        import ogbench.manipspace  # noqa: F401  registers the environments

        self.cameras = cameras
        self.env: Any = gymnasium.make(
            "scene-v0", mode="data_collection", width=96, height=96, max_episode_steps=10**6, disable_env_checker=True
        )

    def reset(self, seed: int) -> None:
        self.env.reset(seed=seed)

    def step(self, action: np.ndarray) -> None:
        self.env.step(action)
        if self.cameras:
            self.env.unwrapped.render(camera="front_pixels")
            self.env.unwrapped.render(camera="front")


def seconds_per_tick(env: Any, ticks: int, seed: int) -> float:
    """CPU seconds of one control tick, resets not counted."""
    rng = np.random.default_rng(seed)
    actions = rng.uniform(-1, 1, (ticks, 5)).astype(np.float32)
    spent = 0.0
    for start in range(0, ticks, 100):
        env.reset(seed + start)
        began = time.process_time()
        for action in actions[start : start + 100]:
            env.step(action)
        spent += time.process_time() - began
    return spent / ticks


def compare(cameras: bool, rounds: int, ours_ticks: int, peer_ticks: int) -> dict[str, Any]:
    """Medians over alternating rounds."""
    makers: dict[str, Callable[[bool], Any]] = {"ours": Ours, "ogbench": OGBench}
    envs = {name: maker(cameras) for name, maker in makers.items()}
    for env in envs.values():  # first pictures and steps set things up
        seconds_per_tick(env, 3, 0)
    times: dict[str, list[float]] = {"ours": [], "ogbench": []}
    for k in range(rounds):
        times["ours"].append(seconds_per_tick(envs["ours"], ours_ticks, 1000 * k))
        times["ogbench"].append(seconds_per_tick(envs["ogbench"], peer_ticks, 1000 * k))
    ratios = [(OURS_TICK / a) / (OGBENCH_TICK / b) for a, b in zip(times["ours"], times["ogbench"], strict=True)]
    ours, peer = statistics.median(times["ours"]), statistics.median(times["ogbench"])
    return {
        "ratio": statistics.median(ratios),
        "ratio_min": min(ratios),
        "ratio_max": max(ratios),
        "steps_per_s": 1 / ours,
        "peer_steps_per_s": 1 / peer,
        "realtime": OURS_TICK / ours,
        "peer_realtime": OGBENCH_TICK / peer,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="print one JSON object last")
    parser.add_argument("--output", type=Path, help="also write the table (Markdown) and the JSON beside it")
    args = parser.parse_args()
    results = {"state": compare(False, args.rounds, 400, 400), "camera": compare(True, args.rounds, 200, 4)}
    lines = [
        "| observation | control steps/s ours | scene-v0 | simulated s per CPU s ours | scene-v0 | ratio (min .. max) |",
        "|---|---|---|---|---|---|",
    ]
    for name, r in results.items():
        lines.append(
            f"| {name} | {r['steps_per_s']:.0f} | {r['peer_steps_per_s']:.1f} | {r['realtime']:.1f} | "
            f"{r['peer_realtime']:.2f} | {r['ratio']:.2f} ({r['ratio_min']:.2f} .. {r['ratio_max']:.2f}) |"
        )
    print("\n".join(lines))
    summary = {f"{name}_{key}": value for name, r in results.items() for key, value in r.items()}
    if args.output:
        args.output.with_suffix(".md").write_text("\n".join(lines) + "\n")
        args.output.with_suffix(".json").write_text(json.dumps(summary, indent=1) + "\n")
    if args.json:
        print(json.dumps(summary))


if __name__ == "__main__":
    main()
