"""From a replay buffer to what the networks see: which sources a batch mixes, and transitions as tensors."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.spaces import Dict
from safetensors.torch import save_file
from torch import Tensor

from robot_learning.algorithms.observation_policy import TASK
from robot_learning.data.replay import ReplayBuffer
from robot_learning.data.replay_batch import Transitions
from robot_learning.errors import UserError
from robot_learning.networks.augmentation import random_crop
from robot_learning.networks.observation_encoder import ObservationEncoder

ONLINE, PRIOR, DEMONSTRATIONS = "online", "prior", "demonstrations"  # sources of the replay buffer
NORMALISE_FROM = 20_000  # transitions that the normalisation is estimated from


class TrainingError(UserError, ValueError):
    """An algorithm cannot do what was asked of it with what it was given."""


@dataclass(frozen=True)
class Batch:
    """A batch as the networks see it: `features`, `next_features` `(B, F)`; `action` `(B, A)`; the rest `(B,)`.

    `imitate` are the rows that the imitation term applies to: successful demonstrations. `online`: what was experienced.
    """

    features: Tensor
    next_features: Tensor
    action: Tensor
    reward: Tensor
    discount: Tensor
    mc_return: Tensor
    imitate: Tensor
    online: Tensor


def prior_mixture(replay: ReplayBuffer, shares: Mapping[str, float]) -> dict[str, float]:
    """Shares of the sources of data that there is something in, which sum to 1; equal ones if `shares` is empty.

    Raises:
        TrainingError: `shares` names none of them.
    """
    names = [source for source in replay.sources if source != ONLINE and replay.size(source)]
    wanted = {name: shares.get(name, 0.0 if shares else 1.0) for name in names}
    total = sum(wanted.values())
    if names and total <= 0:
        raise TrainingError(f"prior_shares {dict(shares)} leave nothing of the sources there are: {names}")
    return {name: share / total for name, share in wanted.items() if share > 0}


def online_mixture(replay: ReplayBuffer, shares: Mapping[str, float], online_share: float) -> dict[str, float]:
    """Shares with practice among them, as soon as there is any; all of it without data."""
    prior = prior_mixture(replay, shares)
    if not prior:
        return {ONLINE: 1.0}
    if not replay.size(ONLINE):
        return prior
    return {**{name: (1 - online_share) * share for name, share in prior.items()}, ONLINE: online_share}


def require_alike(replay: ReplayBuffer, expected: ReplayBuffer) -> None:
    """Refuse a replay buffer of other observations, frozen networks, actions or tasks than the empty one of an algorithm.

    Raises:
        TrainingError: tells what was expected and found.
    """
    found_there, wanted_here = replay.observations.to_dict(), expected.observations.to_dict()
    pairs = {
        "observations": (found_there["keys"], wanted_here["keys"]),
        "frozen networks": (found_there["encoders"], wanted_here["encoders"]),
        "number of actions": (replay.action_size, expected.action_size),
        "tasks": (replay.tasks[: len(expected.tasks)], expected.tasks),
    }
    for name, (found, wanted) in pairs.items():
        if found != wanted:
            raise TrainingError(f"replay buffer: expected the {name} {wanted}, found {found}")


def stored_space(space: gymnasium.Space[Any], instructions: tuple[str, ...]) -> gymnasium.Space[Any]:
    """The space of observations as the replay buffer stores them: without the task, which is stored as its instruction.

    Raises:
        TrainingError: there are more or fewer instructions than tasks.
    """
    if not isinstance(space, Dict) or TASK not in space.spaces:
        return space
    if space.spaces[TASK].shape != (len(instructions),):
        raise TrainingError(
            f"instructions: expected {space.spaces[TASK].shape[0]}, one for each element of {TASK!r} in the observation, "  # type: ignore[index]
            f"found {len(instructions)}: {list(instructions)}"
        )
    return Dict({key: part for key, part in space.spaces.items() if key != TASK})


def standardise(encoder: ObservationEncoder, replay: ReplayBuffer, mixture: Mapping[str, float]) -> None:
    """Set the encoder's normalisation to mean and spread of the vectors in this mixture; always of the same draw."""
    drawn = replay.sample(NORMALISE_FROM, mixture, np.random.default_rng(0))
    columns = {key: drawn.observation[key].reshape(len(drawn), -1) for key in encoder.spec.vectors}
    encoder.set_normalisation(
        {key: column.mean(0, dtype=np.float64) for key, column in columns.items()},
        {key: column.std(0, dtype=np.float64) for key, column in columns.items()},
    )


def make_batch(
    transitions: Transitions, replay: ReplayBuffer, imitate: Collection[str], policy: Any, rng: np.random.Generator
) -> Batch:
    """Transitions of `replay` as the networks of `policy` (an `ObservationPolicy`) see them; pictures cut at random.

    Raises:
        TrainingError: they show tasks that the policy does not know.
    """
    sources, tasks = replay.sources, policy.encoder.spec.tasks
    if tasks and transitions.task.max() >= tasks:
        raise TrainingError(
            f"the data shows tasks {replay.tasks[tasks:]}, which are not among the instructions {replay.tasks[:tasks]}; choose "
            "what is learned from with add_prior(source, dataset, tasks=[...]), or with task=... for a Minari dataset"
        )
    copied = np.isin(transitions.source, [i for i, name in enumerate(sources) if name in imitate])
    online = transitions.source == (sources.index(ONLINE) if ONLINE in sources else -1)
    features = _features(transitions.observation, transitions.task, policy, rng)
    with torch.no_grad():
        following = _features(transitions.next_observation, transitions.task, policy, rng)
    names = ("action", "reward", "discount", "mc_return")
    plain = {name: torch.from_numpy(getattr(transitions, name)).to(policy.device) for name in names}
    return Batch(
        features,
        following,
        **plain,
        imitate=torch.from_numpy(copied & transitions.success).to(policy.device),
        online=torch.from_numpy(online).to(policy.device),
    )


def _features(observation: Mapping[str, np.ndarray], task: np.ndarray, policy: Any, rng: np.random.Generator) -> Tensor:
    encoder: ObservationEncoder = policy.encoder
    parts = {key: torch.from_numpy(observation[key]).to(policy.device) for key in encoder.spec.vectors}
    for key in encoder.spec.images:
        crop = random_crop(observation[key], np.arange(len(task)), encoder.spec.image_size, rng)
        parts[key] = crop.to(policy.device)
    told = None
    if encoder.spec.tasks:
        told = torch.from_numpy(np.eye(encoder.spec.tasks, dtype=np.float32)[task]).to(policy.device)
    features: Tensor = encoder(parts, told)
    return features


def pick(observation: Any, index: int) -> Any:
    """The observation of one environment of several."""
    if isinstance(observation, Mapping):
        return {key: value[index] for key, value in observation.items()}
    return observation[index]


def without_task(observation: Any) -> Any:
    """An observation as the replay buffer stores it."""
    if isinstance(observation, Mapping):
        return {key: value for key, value in observation.items() if key != TASK}
    return observation


def save_transitions(path: Path, transitions: Transitions) -> None:
    """Write a batch to a safetensors file, to be looked at."""
    flat = {f"observation/{k}": v for k, v in transitions.observation.items()}
    flat |= {f"next_observation/{k}": v for k, v in transitions.next_observation.items()}
    flat |= {k: v for k, v in vars(transitions).items() if isinstance(v, np.ndarray)}
    save_file({k: torch.from_numpy(np.ascontiguousarray(v)) for k, v in flat.items()}, path)
