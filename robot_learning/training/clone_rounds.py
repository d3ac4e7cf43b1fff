"""Rounds of cloning: each a clone, new or from pretrained weights, of demonstrations and all successes of practice so far.

rounds/round_K     the policy of K trainings after the first; a folder that exists is whole
checkpoints/last   the newest of them
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from robot_learning.algorithms.behaviour_cloning import BehaviourCloning, frozen_features
from robot_learning.algorithms.cloning_config import BehaviourCloningConfig
from robot_learning.algorithms.demonstrations import Demonstrations, Judge, told_by_play, with_play, with_prior
from robot_learning.algorithms.frozen_features import FrozenFeatures
from robot_learning.algorithms.input_selection import Told
from robot_learning.algorithms.self_imitation import SelfImitationConfig
from robot_learning.data import Dataset
from robot_learning.folders import LAST
from robot_learning.policies import Checkpoint, read_checkpoint, save_checkpoint
from robot_learning.training.config import TrainConfig
from robot_learning.training.offline import DivergedError

ROUNDS = "rounds"


def load_demonstrations(
    folders: Sequence[str],
    play: Sequence[str],
    inputs: Sequence[str],
    tasks: Sequence[str],
    prior: Sequence[str] = (),
    judge: Judge | None = None,
    is_generalist: bool = False,
) -> Demonstrations:
    """The successful demonstrations of `tasks` in all folders, what succeeded in `play`, and the `prior` data, as one set.

    What succeeded in play and prior data is what the `judge` says, or else their own labels. `is_generalist`: the policy knows
    tasks that nobody demonstrated here, as one with prior data does.

    Raises:
        DatasetError, ContractError, DemonstrationError: as `Demonstrations.load`, `with_play` and `with_prior`.
    """
    datasets = [Dataset(folder) for folder in folders]
    known = {task for dataset in datasets for task in dataset.episode_tasks} if prior or is_generalist else set(tasks)
    asked = [task for task in tasks if task in known]
    loaded = [Demonstrations.load(dataset, inputs, asked) for dataset in datasets]
    played = with_play(Demonstrations.join(loaded), play, inputs, judge or told_by_play)
    return with_prior(played, prior, inputs, judge)


def lengths(cloned: TrainConfig) -> dict[str, int]:
    """Gradient steps of the trainings after the clone `cloned`: its own, up to twice as many as data grows; never more where each
    goes on from weights that know most of it already."""
    return {"gradient_steps": cloned.steps, "most_gradient_steps": cloned.steps * (1 if cloned.start else 2)}


class CloneRounds:
    """Trains the clones of a run and keeps them.

    Args:
        run: the run's folder. demonstrated: frames of its demonstrations, prior data not counted, which the length of a training
            is measured by.
        seed: that of round K is `seed + K`. pretrained: the policy whose weights each clone goes on from; None: it begins anew.
    """

    def __init__(
        self,
        run: Path,
        bc: BehaviourCloningConfig,
        settings: SelfImitationConfig,
        seed: int,
        demonstrated: int,
        pretrained: Checkpoint | None = None,
    ) -> None:
        self.run, self.bc, self.settings, self.seed, self.demonstrated = run, bc, settings, seed, demonstrated
        self.pretrained = pretrained
        self._features: FrozenFeatures | None = None

    def folder(self, number: int) -> Path:
        """Where the policy of a round is."""
        return self.run / ROUNDS / f"round_{number}"

    def newest(self) -> int | None:
        """Number of the last round that was kept, None before the first."""
        found = [re.fullmatch(r"round_(\d+)", path.name) for path in (self.run / ROUNDS).glob("round_*")]
        return max((int(match[1]) for match in found if match), default=None)

    def learner(self, number: int, data: Demonstrations, told: Told) -> BehaviourCloning:
        """The clone of a round before its first step; maps of frozen features are kept, as data only grows."""
        rows, seed = np.arange(len(data)), self.seed + number
        if self.bc.encoder == "frozen" and data.images and self.settings.has_own_encoder(data.num_episodes):
            bc, steps = dataclasses.replace(self.bc, encoder="trained"), self.settings.own_encoder_steps
            return BehaviourCloning(bc, data, rows, steps, seed, self._selected(number), told=told)
        if self.bc.encoder == "frozen" and self._features is None:
            self._features = frozen_features(self.bc, data, self.seed)
        steps = self.settings.gradient_steps_for(len(data) - data.prior, self.demonstrated)
        chosen, start = self._selected(number), self.pretrained
        return BehaviourCloning(self.bc, data, rows, steps, seed, chosen, self._features, told, start)

    def train(self, learner: BehaviourCloning, go_on: Callable[[int, float], bool]) -> dict[str, float] | None:
        """All steps of a training; its last metrics, or None when `go_on(steps done, loss)` said no before a step.

        Raises:
            DivergedError: the loss is not finite in the end.
        """
        metrics = {"loss": math.nan}
        for step in range(learner.steps):
            if not go_on(step, metrics["loss"]):
                return None
            metrics = learner.update(step, learner.batch(step))
        go_on(learner.steps, metrics["loss"])
        if not math.isfinite(metrics["loss"]):
            raise DivergedError(
                f"{self.run}: the loss is {metrics['loss']} after {learner.steps} steps; try a lower learning rate, and look for "
                "outliers with `robot-learning dataset check`"
            )
        return metrics

    def keep(self, number: int, checkpoint: Checkpoint) -> None:
        """Put the policy of a round on the disk; the round's own folder comes last, as it says that the round is done."""
        save_checkpoint(self.run / LAST, checkpoint)
        save_checkpoint(self.folder(number), checkpoint)

    def _selected(self, number: int) -> dict[str, list[int]] | None:
        """What the policy of the round before reads; None when it is to be decided anew, each time the data has about doubled."""
        if number & (number - 1) == 0 or not self.bc.choose_inputs:  # 0, 1, 2, 4, 8, ...
            return None
        selected: dict[str, list[int]] = read_checkpoint(self.folder(number - 1)).config["selected"]
        return selected
