"""Prior data of practice.py: what was recorded at other desks, in folders below its --run. Made once, in parts side by side."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from pathlib import Path

from robot_learning.envs.demonstrator import PlayConfig
from robot_learning.training.collection import collect_demonstrations
from robot_learning.training.play_collection import collect_play

PLAY_SEEDS, PLAY_MINUTES = tuple(range(60_000, 66_000, 1000)), 30  # of play, each
BESIDE = 2  # of these are learned from at each desk too
BLOCK_SEEDS, BLOCK_MINUTES = (90_000, 92_000), 90  # of play with the block, each
BLOCK = ("sweep_object", "grasp_lift", "put_into_shelf", "pull_out_of_shelf", "rotate_left", "rotate_right",
         "sweep_left", "sweep_right", "grasp_flat", "open_drawer", "open_sliding")  # fmt: skip
MINUTES, EPISODES = 60, 300  # of each pair with the block: play there and back, and demonstrations of each task


@dataclass(frozen=True)
class Pair:
    """A pair of tasks with the block: first seeds of demonstrations and of play there and back, and what that needs besides."""

    tasks: tuple[str, str]
    shown: int
    played: int
    besides: tuple[str, ...] = ()


PAIRS = {
    pair.tasks[0]: pair
    for pair in (
        Pair(("sweep_object", "grasp_lift"), 80_000, 100_000, ("open_drawer", "sweep_right")),
        Pair(("put_into_shelf", "pull_out_of_shelf"), 82_000, 102_000, ("open_sliding",)),
        Pair(("rotate_left", "rotate_right"), 84_000, 104_000),
    )
}
AMOUNTS = [len(PLAY_SEEDS) * PLAY_MINUTES, len(BLOCK_SEEDS) * BLOCK_MINUTES, EPISODES, MINUTES]


def for_all(root: Path) -> list[Path]:
    """What a generalist is cloned from."""
    folders = [*(str(seed) for seed in PLAY_SEEDS), *(f"block_{seed}" for seed in BLOCK_SEEDS), *PAIRS]
    return [root / "prior" / name for name in folders]


def at_a_desk(root: Path, task: str) -> list[Path]:
    """What is learned from at the desk of the pair whose first task this is."""
    names = [str(seed) for seed in PLAY_SEEDS[:BESIDE]]
    return [root / "prior" / name for name in (*names, *([f"there_and_back_{task}", task] if task in PAIRS else []))]


def collect(root: Path, size: int, pool: Executor) -> Iterator[Future[None]]:
    """Have all of it recorded; goes on where it was stopped."""
    prior = root / "prior"
    for seed in PLAY_SEEDS:
        yield pool.submit(collect_play, prior / str(seed), PLAY_MINUTES, seed, size)
    for seed in BLOCK_SEEDS:
        config = PlayConfig(tasks=BLOCK)
        yield pool.submit(collect_play, prior / f"block_{seed}", BLOCK_MINUTES, seed, size, config=config)
    for name, pair in PAIRS.items():
        config = PlayConfig(tasks=(*pair.tasks, *pair.besides))
        yield pool.submit(collect_play, prior / f"there_and_back_{name}", MINUTES, pair.played, size, config=config)
        seeds = {task: pair.shown + 1000 * k for k, task in enumerate(pair.tasks)}
        yield pool.submit(collect_demonstrations, prior / name, seeds, EPISODES, size)
