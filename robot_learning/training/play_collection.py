"""Minutes of scripted play into a dataset: continuous, without resets, each frame named by what the player was trying."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from robot_learning.data import DatasetWriter
from robot_learning.envs.demonstrator import PlayConfig, Player
from robot_learning.envs.playroom_env import PlayroomEnv
from robot_learning.training.progress import ProgressBar

EPISODE_SECONDS = 45.0  # a recording is cut here so that a crash loses no more; play itself goes on
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
    env = PlayroomEnv(cameras=cameras, image_size=image_size)
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
