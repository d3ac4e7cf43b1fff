"""Minutes of scripted play into a dataset: continuous, without resets, each frame named by what the player was trying."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from robot_learning.contract import Contract
from robot_learning.data import Dataset, DatasetWriter
from robot_learning.data.metadata import INFO_PATH
from robot_learning.envs.demonstrator import PlayConfig, Player
from robot_learning.envs.playroom_env import PlayroomEnv
from robot_learning.errors import UserError
from robot_learning.training.progress import ProgressBar
from robot_learning.training.workers import prepare_worker, starting_workers

ROBOT = "ur5e_2f85"
EPISODE_SECONDS = 45.0  # a recording is cut here so that a crash loses no more; play itself goes on
SEEDS = 1000  # between those of datasets that are collected at once
SESSION_SECONDS = 90.0  # then another player finds another room; ten minutes see every start
STARTS = (
    "grasp_flat",
    "knock_object",
    "sweep_object",
    "pull_out_of_shelf",
    "grasp_lift",
    "grasp_upright",
    "rotate_left",
)  # where the block lies at first; it stands in two, since nobody can stand it up again


def collect_play(
    root: Path,
    minutes: float,
    seed: int = 0,
    image_size: int = 96,
    cameras: tuple[str, ...] = ("front", "wrist"),
    config: PlayConfig | None = None,
) -> None:
    """Add recordings to the dataset at `root` until it holds `minutes` of play.

    A session is a minute and a half in one room without a reset; it ends early when the block falls off the desk. Its
    recordings of up to 45 seconds follow one another without a gap (`info["session"]`, `info["part"]`). `next.success` is
    true at the ticks in which the task the player tries is done. An interrupted collection goes on with the next session's seed.

    Raises:
        DatasetError: the dataset there has another contract. DatasetLockedError: someone else is writing to it.
    """
    env = PlayroomEnv(contract=ROBOT, cameras=cameras, image_size=image_size)
    try:
        with DatasetWriter.open_or_create(root, env.contract) as writer:
            wanted = round(minutes * 60 * env.contract.rate)
            session = seed + writer.num_episodes
            with ProgressBar("play", wanted, "frames", writer.num_frames) as bar:
                while writer.num_frames < wanted:
                    _session(env, writer, bar, session, wanted, config)
                    session = max(session + 1, seed + writer.num_episodes)
    finally:
        env.close()


class PlayError(UserError, RuntimeError):
    """A process that collects play has failed; says why."""


def collect_play_in_parts(roots: Sequence[Path], minutes: float, seed: int, image_size: int = 96) -> None:
    """`collect_play` into several datasets at once, a process for each: `minutes` in all, each from a seed of its own.

    Ctrl-C raises `KeyboardInterrupt`; as after a kill, what was recorded stays, and another call goes on.

    Raises:
        PlayError: what one of the processes raised.
    """
    context, each = multiprocessing.get_context("spawn"), minutes / len(roots)
    total = round(each * 60 * Contract.load(ROBOT).rate) * len(roots)
    ends = [context.Pipe(duplex=False) for _ in roots]
    workers = [
        context.Process(target=_part, args=(root, each, seed + SEEDS * k, image_size, ends[k][1]), daemon=True)
        for k, root in enumerate(roots)
    ]
    with ProgressBar("play", total, "frames", _recorded(roots)) as bar:
        with starting_workers():
            for worker in workers:
                worker.start()
        try:
            while any(worker.is_alive() for worker in workers):
                time.sleep(0.5)
                bar.update(_recorded(roots))
        finally:
            for worker in workers:
                worker.terminate()
                worker.join()
    for root, worker, (told, _) in zip(roots, workers, ends, strict=True):
        if told.poll():
            raise PlayError(f"{root}: {told.recv()}")
        if worker.exitcode:
            raise PlayError(
                f"{root}: the process that collects play ended with code {worker.exitcode}; run it again to go on"
            )


def _part(root: Path, minutes: float, seed: int, image_size: int, told: Any) -> None:
    """In a process of its own, whose progress nobody sees."""
    prepare_worker()
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stderr(nowhere):
        try:
            collect_play(root, minutes, seed, image_size)
        except Exception as error:
            told.send(f"{type(error).__name__}: {error}")


def _recorded(roots: Sequence[Path]) -> int:
    """Frames of play that are on the disk."""
    return sum(Dataset(root).num_frames for root in roots if (root / INFO_PATH).is_file())


def _session(
    env: PlayroomEnv, writer: DatasetWriter, bar: ProgressBar, seed: int, wanted: int, config: PlayConfig | None
) -> None:
    rng = np.random.default_rng(seed)
    observation, _ = env.reset(seed=seed, options={"task": STARTS[seed % len(STARTS)]})
    player = Player(env.room, rng, config)
    part_ticks = round(EPISODE_SECONDS * env.contract.rate)
    parts = max(1, round(SESSION_SECONDS / EPISODE_SECONDS))
    for part in range(parts):
        ticks = min(part_ticks, wanted - writer.num_frames)
        if ticks <= 0 or player.lost or env.room.diverged:
            return
        begun, abandoned = player.begun, player.abandoned
        solved: set[int] = set()
        for tick in range(ticks):
            action = player.act()
            env.set_task(player.task.name)
            following, reward, _, _, info = env.step(action)
            over = tick + 1 == ticks or player.lost or info["diverged"]
            writer.add_frame(_frame(observation, action, reward, over, info), task=info["instruction"])
            if info["is_success"]:
                solved.add(player.begun)
            observation = following
            if tick % 20 == 0:
                bar.update(min(wanted, writer.num_frames + writer.episode_length), player.task.instruction)
            if over:
                break
        tried = player.begun - begun + 1
        details = {"source": "play", "session": seed, "part": part, "tried": tried, "done": len(solved)}
        writer.save_episode(success=bool(solved), info={**details, "abandoned": player.abandoned - abandoned})


def _frame(
    observation: dict[str, np.ndarray], action: np.ndarray, reward: float, over: bool, info: dict[str, Any]
) -> dict[str, np.ndarray]:
    return {
        **observation,
        "action": action,
        "next.reward": np.array([reward], np.float32),
        "next.done": np.array([over]),
        "next.success": np.array([info["is_success"]]),
    }
