"""A process that fills a replay buffer and saves it after every few steps until it is killed: python replay_writer.py FOLDER.

Step n of the source "online" is a function of n alone, so whoever loads the buffer can tell what must be in it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import gymnasium
import numpy as np

from robot_learning.data.replay import ReplayBuffer

CAPACITY = 400
STEPS_A_SAVE = 7
LENGTH = 25  # steps of an episode


def make() -> ReplayBuffer:
    space = gymnasium.spaces.Box(-np.inf, np.inf, (3,), np.float32)
    action_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)
    return ReplayBuffer(space, action_space, {"online": CAPACITY}, lowest_reward=0.0, n_step=3)


def add(buffer: ReplayBuffer, step: int) -> None:
    """Step number `step` of a run."""
    episode, t = divmod(step, LENGTH)
    first = episode * (LENGTH + 1) + t
    observation, following = (np.array([n, np.sin(n), episode], np.float32) for n in (first, first + 1))
    last = t == LENGTH - 1
    action = np.array([np.sin(step), np.cos(step)], np.float32)
    buffer.add_step("online", 0, observation, action, float(last), following, last, False, last)


def steps_in(buffer: ReplayBuffer) -> int:
    """How many steps of the run a buffer has seen."""
    episodes, rest = divmod(buffer.source("online").written, LENGTH + 1)
    return episodes * LENGTH + max(0, rest - 1)


def main(folder: Path) -> None:
    """Go on until killed, telling after every save how many steps are safe."""
    buffer = ReplayBuffer.load(folder) if (folder / "manifest.json").exists() else make()
    step = steps_in(buffer)
    while True:
        for _ in range(STEPS_A_SAVE):
            add(buffer, step)
            step += 1
        buffer.save(folder)
        print(step, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
