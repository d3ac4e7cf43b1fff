"""What a replay buffer costs: sampling, adding, saving, loading.

    python benchmarks/replay_speed.py [--json] [--save]

CPU milliseconds of one thread (median of rounds), beside Stable-Baselines3's ReplayBuffer with observations and next observations
of the same 51 numbers, in alternating rounds of one run. `sample_ratio` is ours over theirs at one source and one step.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Dict
from rich.console import Console
from rich.table import Table
from stable_baselines3.common.buffers import ReplayBuffer as TheirBuffer

from robot_learning.data.replay import ReplayBuffer

BATCH, ROUNDS, CALLS = 256, 25, 100
STATE = {"observation.state": 18, "observation.environment_state": 33}
CAMERAS = ("observation.images.front", "observation.images.wrist")
MIXED = {"online": 0.5, "demonstrations": 0.25, "play": 0.25}
RESULTS = Path(__file__).parent / "results"


def make(pictures: bool = False, **options: Any) -> ReplayBuffer:
    """An empty buffer for the playroom's state, or for state and two cameras of 96 x 96."""
    boxes: dict[str, Any] = {key: Box(-np.inf, np.inf, (n,), np.float32) for key, n in STATE.items()}
    if pictures:
        boxes |= {key: Box(0, 255, (96, 96, 3), np.uint8) for key in CAMERAS}
    return ReplayBuffer(Dict(boxes), Box(-1, 1, (5,), np.float32), 50_000, lowest_reward=0.0, **options)


def shots(buffer: ReplayBuffer, count: int) -> dict[str, np.ndarray]:
    """Random frames."""
    rng = np.random.default_rng(0)
    return {
        key: rng.integers(0, 256, (count, *stored.shape), dtype=np.uint8)
        if stored.dtype == np.uint8
        else rng.normal(size=(count, *stored.shape)).astype(np.float32)
        for key, stored in buffer.observations.keys.items()
    }


def filled(**options: Any) -> ReplayBuffer:
    """20 demonstrations, 50 minutes of play and 20,000 online steps, of state."""
    buffer = make(**options)
    for source, episodes, length in (("demonstrations", 20, 60), ("play", 67, 450), ("online", 200, 100)):
        for _ in range(episodes):
            actions, rewards = np.zeros((length, 5)), np.zeros(length)
            buffer.add_episode(source, shots(buffer, length + 1), actions, rewards, True)
    return buffer


def theirs(steps: int = 20_000) -> TheirBuffer:
    """Stable-Baselines3's buffer with as many online steps."""
    buffer = TheirBuffer(50_000, Box(-np.inf, np.inf, (51,), np.float32), Box(-1, 1, (5,), np.float32))
    observation, action = np.zeros((1, 51), np.float32), np.zeros((1, 5), np.float32)
    for _ in range(steps):
        buffer.add(observation, observation, action, np.zeros(1), np.zeros(1), [{}])
    return buffer


def in_turn(calls: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """CPU milliseconds of one call of each, the median of alternating rounds."""
    found: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(ROUNDS):
        for name, call in calls.items():
            start = time.process_time()
            for _ in range(repeats):
                call()
            found[name].append(1e3 * (time.process_time() - start) / repeats)
    return {name: statistics.median(values) for name, values in found.items()}


def sampling() -> dict[str, float]:
    """Batches of 256."""
    one, three, peer = filled(), filled(n_step=3), theirs()
    rng = np.random.default_rng(0)
    return in_turn(
        {
            "sample, SB3": lambda: peer.sample(BATCH),
            "sample, 1 source, n = 1": lambda: one.sample(BATCH, {"online": 1.0}, rng),
            "sample, 3 sources, n = 1": lambda: one.sample(BATCH, MIXED, rng),
            "sample, 1 source, n = 3": lambda: three.sample(BATCH, {"online": 1.0}, rng),
            "sample, 3 sources, n = 3": lambda: three.sample(BATCH, MIXED, rng),
        },
        CALLS,
    )


def writing(pictures: bool) -> dict[str, float]:
    """Steps, and a save after every 40 of them (4 s of a robot at 10 Hz); then loading it all, and a batch of it."""
    buffer, kind = make(pictures), "pictures" if pictures else "state"
    content = shots(buffer, 101)
    frames = [{key: values[t] for key, values in content.items()} for t in range(101)]
    adding, saving, wall = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        for save in range(50):
            start = time.process_time()
            for t in range(40 * save, 40 * save + 40):
                at = t % 100
                buffer.add_step("online", 0, frames[at], np.zeros(5), 0.0, frames[at + 1], False, at == 99)
            adding.append((time.process_time() - start) / 40)
            start, clock = time.process_time(), time.perf_counter()
            buffer.save(folder)
            saving.append(time.process_time() - start)
            wall.append(time.perf_counter() - clock)
        start = time.process_time()
        ReplayBuffer.load(folder)
        loading = time.process_time() - start
    figures = {"add a step": statistics.median(adding), "save 40 steps": statistics.median(saving)}
    figures |= {"save 40 steps, wall": statistics.median(wall), "load 2000 steps": loading}
    sample = in_turn({"sample": lambda: buffer.sample(BATCH, None, np.random.default_rng(0))}, 2)
    return {f"{name}, {kind}": 1e3 * value for name, value in figures.items()} | {
        f"sample, {kind}, 2000 steps": sample["sample"]
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    parser.add_argument("--save", action="store_true", help="write benchmarks/results/replay_speed.json")
    options = parser.parse_args()
    figures = sampling() | writing(False) | writing(True)
    table = Table("", "CPU ms", title=f"batches of {BATCH}, 51 numbers; pictures: two cameras of 96 x 96 as well")
    for name, value in figures.items():
        table.add_row(name, f"{value:.3f}")
    Console().print(table)
    result = {"sample_ratio": round(figures["sample, 1 source, n = 1"] / figures["sample, SB3"], 3)}
    result |= {name: round(value, 4) for name, value in figures.items()}
    if options.save:
        (RESULTS / "replay_speed.json").write_text(json.dumps(result, indent=2) + "\n")
    if options.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
