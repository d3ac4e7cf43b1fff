"""A dataset in which nobody moves but the drawer: closed in the first half of each episode, open in the second."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from robot_learning.data import DatasetWriter
from robot_learning.envs.playroom_env import PlayroomEnv

LENGTH, OPENED = 6, 3  # frames of an episode, and the first that shows the drawer open
OPEN, CLOSED = "is the drawer open?", "is the drawer closed?"


def collect(root: Path, episodes: int = 6, size: int = 32, seed: int = 0) -> Path:
    """Episodes of the task "open the drawer", all successful."""
    env = PlayroomEnv(task="open_drawer", cameras=("front",), image_size=size)
    with DatasetWriter.create(root, env.contract) as writer:
        for episode in range(episodes):
            env.reset(seed=seed + episode)
            for frame in range(LENGTH):
                env.room.set_joint("drawer", 0.14 if frame >= OPENED else 0.0)
                env.room.forward()
                outcome = {
                    "next.reward": np.zeros(1, np.float32),
                    "next.done": np.array([frame == LENGTH - 1]),
                    "next.success": np.array([frame + 1 >= OPENED]),
                }
                action = np.zeros(5, np.float32)
                writer.add_frame({**env.observe(), "action": action, **outcome}, task="open the drawer")
            writer.save_episode(success=True)
    env.close()
    return root
