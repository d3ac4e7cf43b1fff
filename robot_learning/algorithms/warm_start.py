"""Going on from a policy that was trained before, on more and other data: a generalist from hours of prior data, say.

What it knows of seeing and reaching is kept, its normalisation and its choice of inputs too, as its weights mean nothing without
them. Tasks that it does not know get an embedding of their own, which begins as the mean of the known ones.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch

from robot_learning.networks.visuomotor import VisuomotorNetwork, VisuomotorSpec
from robot_learning.policies import Checkpoint, CheckpointError

EMBEDDING = "task_embedding.weight"
FREE = ("tasks", "dropout")  # what may differ


def begin_with(network: VisuomotorNetwork, start: Checkpoint, tasks: Sequence[str], displacements: bool) -> None:
    """Give a network that knows `tasks` the weights of `start`.

    Args:
        displacements: whether it is to predict sums of actions.

    Raises:
        CheckpointError: the networks differ in more than tasks and dropout, or in what they predict.
    """
    there = VisuomotorSpec.from_dict(start.config["network"])
    here = dataclasses.asdict(network.spec) | {"displacements": displacements}
    found = dataclasses.asdict(there) | {"displacements": start.config["displacements"]}
    differing = [key for key in here if key not in FREE and here[key] != found[key]]
    if differing:
        raise CheckpointError(
            "the policy to go on from (start) has another network: "
            + "; ".join(f"{key} {found[key]}, here {here[key]}" for key in differing)
            + ". Train with its settings, or without it"
        )
    weights = dict(start.weights)
    embedding = weights[EMBEDDING]
    rows = [embedding[start.tasks.index(task)] if task in start.tasks else embedding.mean(dim=0) for task in tasks]
    network.load_state_dict({**weights, EMBEDDING: torch.stack(rows)})
