"""The retraining loop of the benchmark: what the reward node would keep of some episodes, answered from the simulator's state."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from reward_quality_judging import answers_of
from reward_quality_scenes import Stills

from robot_learning.envs.tasks import TASKS
from robot_learning.rewards import EmbeddedReward
from robot_learning.training.uncertain import ANSWERED, PictureAnswer, add_picture_answers
from robot_learning.training.uncertain_folder import UncertainFolder

PER_EPISODE = 4  # as the reward node keeps
RATE = 10.0  # ticks a second


def answered_pictures(root: Path, model: EmbeddedReward, stills: Stills, tasks: list[str], limit: int) -> int:
    """Fill a folder with the pictures the model is least sure of, at most `limit`, all their questions answered; how many."""
    if (root / ANSWERED).is_file():  # by a run of before: others would come on top
        for file in [*root.glob("pictures/*"), *root.glob("*.csv")]:
            file.unlink()
    p = answers_of([model], stills, tasks)[0]
    folder, shown = UncertainFolder(root, limit, PER_EPISODE), {}
    try:
        for episode in np.unique(stills.episodes):
            folder.new_episode()
            for row in np.flatnonzero(stills.episodes == episode):
                q = int(stills.tasks[row])
                images = dict(zip(model.cameras, stills.pictures[row], strict=True))
                if folder.offer(
                    stills.ticks[row] / RATE, images, TASKS[tasks[q]].question, float(p[row, q]), model.threshold
                ):
                    shown[folder.waiting[-1].picture] = row
        wanted = [w.picture for w in folder.waiting]
    finally:
        folder.close()
    truth = {picture: stills.truth[shown[picture]] for picture in wanted}
    add_picture_answers(
        root,
        [
            PictureAnswer(picture, TASKS[task].question, int(answer), "simulator")
            for picture, answers in truth.items()
            for task, answer in zip(tasks, answers, strict=True)
        ],
    )
    return len(wanted)
