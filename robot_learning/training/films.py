"""Films of a policy at work, as a person beside the robot would see it: single episodes run again with the overview camera."""

from __future__ import annotations

import dataclasses
import multiprocessing
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

import robot_learning.envs  # noqa: F401  registers the environments
from robot_learning.contract import IMAGE_PREFIX
from robot_learning.policies import Policy, load_policy
from robot_learning.training.progress import ProgressBar
from robot_learning.training.videos import write_video
from robot_learning.training.workers import prepare_worker, starting_workers

NAME = re.compile(r"(?P<task>\w+)_seed_(?P<seed>\d+)_(?P<outcome>success|failure)\.mp4")
HOLD = 8  # ticks the last picture stays
INSET = 6  # gap around the pictures the policy sees [pixel]


@dataclass(frozen=True)
class Clip:
    """One episode to film, and how it ended."""

    task: str
    seed: int
    success: bool

    @property
    def speed(self) -> int:
        """Failures last until the time limit and are shown faster: a pretty picture takes 0.05 s to draw on a CPU."""
        return 1 if self.success else 3

    @property
    def name(self) -> str:
        """File name."""
        return f"{self.task}_seed_{self.seed}_{'success' if self.success else 'failure'}.mp4"

    @staticmethod
    def found(folder: Path) -> list[Clip]:
        """The clips in `folder`: by task, successes first, by seed."""
        matches = [NAME.fullmatch(path.name) for path in folder.glob("*.mp4")]
        clips = [Clip(match["task"], int(match["seed"]), match["outcome"] == "success") for match in matches if match]
        return sorted(clips, key=lambda clip: (clip.task, not clip.success, clip.seed))


def film(
    checkpoint: Path, clips: Sequence[Clip], folder: Path, processes: int = 2, furniture: int | None = None
) -> None:
    """Film the `clips` that `folder` lacks; each appears there once it is whole. `processes` 0 films in this process.

    `furniture`: seed of where it stands in all episodes; None: elsewhere in each.
    """
    have = {(clip.task, clip.seed) for clip in Clip.found(folder)}
    jobs = [(checkpoint, clip, folder, furniture) for clip in clips if (clip.task, clip.seed) not in have]
    if not jobs:
        return
    folder.mkdir(parents=True, exist_ok=True)
    with ProgressBar("film", len(jobs), "episodes") as bar:
        for done, _ in enumerate(_results(jobs, processes), start=1):
            bar.update(done)


def _results(jobs: list[tuple[Path, Clip, Path, int | None]], processes: int) -> Iterator[None]:
    if processes == 0:
        yield from map(_film, jobs)
        return
    # spawned, not forked: a copy of this process's GL context and torch threads would not work
    context = multiprocessing.get_context("spawn")
    with starting_workers():
        pool = context.Pool(min(processes, len(jobs)), prepare_worker)
    with pool:
        yield from pool.imap_unordered(_film, jobs)


def _film(job: tuple[Path, Clip, Path, int | None]) -> None:
    checkpoint, clip, folder, furniture = job
    frames, success = _episode(checkpoint, clip, furniture)
    frames += frames[-1:] * HOLD
    write_video(folder / dataclasses.replace(clip, success=success).name, np.stack(frames), 10.0)


def _episode(checkpoint: Path, clip: Clip, furniture: int | None) -> tuple[list[np.ndarray], bool]:
    """The pictures of the episode, every `clip.speed`-th tick and the last one, and whether it succeeded."""
    policy = load_policy(checkpoint)
    size = next(iter(policy.contract.images.values())).shape[0]
    cameras = tuple(key.removeprefix(IMAGE_PREFIX) for key in policy.contract.images)
    look: dict[str, Any] = {"cameras": cameras, "image_size": size, "furniture": furniture}
    env = gymnasium.make("robot_learning/Playroom-v0", task=clip.task, render_mode="rgb_array", **look)
    try:
        observation, info = env.reset(seed=clip.seed)
        policy.reset()
        frames, tick, over = [_picture(env, observation, policy)], 0, False
        while not over:
            action = policy.predict(observation, info["instruction"])
            observation, _, terminated, truncated, info = env.step(action)
            tick, over = tick + 1, terminated or truncated
            if over or tick % clip.speed == 0:
                frames.append(_picture(env, observation, policy))
        return frames, bool(info["is_success"])
    finally:
        env.close()


def _picture(env: gymnasium.Env[Any, Any], observation: Mapping[str, np.ndarray], policy: Policy) -> np.ndarray:
    """The overview `(H, W, 3)` with what the policy sees in its upper right corner."""
    picture: np.ndarray = np.array(env.render())
    right = picture.shape[1] - INSET
    for key in reversed(policy.contract.images):
        height, width = observation[key].shape[:2]
        picture[INSET - 2 : INSET + height + 2, right - width - 2 : right + 2] = 255
        picture[INSET : INSET + height, right - width : right] = observation[key]
        right -= width + INSET
    return picture
