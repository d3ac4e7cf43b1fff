"""A dataset of practice that grows, as the recorder would write it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from robot_learning.data import Dataset, DatasetWriter
from robot_learning.data.recording import HELD, recording_features


def practise(root: Path, doors: Path, successes: list[bool], held: int = 0, **info: object) -> None:
    """Record an episode for each flag, as the recorder does: the first `held` frames are holds, in which the action is zero."""
    shown = Dataset(doors)
    assert shown.contract is not None
    with DatasetWriter.open_or_create(root, shown.contract, extra=recording_features(shown.contract)) as writer:
        for success in successes:
            frames = shown.episode(0).frames
            for i in range(held + 6):
                row = {key: frames[key][max(0, i - held)] for key in [*shown.contract.observation, "action"]}
                row["action"] = row["action"] * (i >= held)
                outcome = {
                    "next.reward": np.float32(0),
                    "next.done": np.bool_(False),
                    "next.success": np.bool_(success),
                }
                more = {
                    "intervention": np.bool_(False), HELD: np.bool_(i < held), "action.requested": np.ones(5, np.float32),
                    "observation.age": np.zeros(len(shown.contract.observation), np.float32),
                }  # fmt: skip
                writer.add_frame({**row, **outcome, **more}, task=shown.tasks[0])
            writer.save_episode(success=success, info={"source": "recorder", **info})
