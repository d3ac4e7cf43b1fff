"""The policy object of the offline-to-online algorithms: an encoder, the algorithm's networks, and how they act."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
import torch
from stable_baselines3.common.policies import BasePolicy
from torch import Tensor, nn

from robot_learning.data.observations import PLAIN, FeatureEncoder
from robot_learning.networks.observation_encoder import EncoderSpec, ObservationEncoder
from robot_learning.settings import SettingError, require_at_least, require_convolutions

TASK = "task"  # the key of the one-hot vector that tells which task is asked for


@dataclass(frozen=True)
class EncoderConfig:
    """How observations become features."""

    crop: float = 0.917
    """Side of the random crop of pictures as a share of the picture (the centre is cut when acting)."""
    channels: tuple[int, ...] = (16, 32, 32)
    """Channels of the convolutions; the last is the number of keypoints per camera."""
    kernels: tuple[int, ...] = (5, 3, 3)
    """Kernel sizes [pixels]."""
    strides: tuple[int, ...] = (2, 2, 1)
    """Strides [pixels]."""
    learning_rate: float = 3e-4
    """Of Adam for the encoder, which the critics' loss trains."""

    def __post_init__(self) -> None:
        require_convolutions(self)
        require_at_least(self, 0, "learning_rate")


def encoder_spec(
    space: gymnasium.Space[Any], config: EncoderConfig, frozen: Mapping[str, FeatureEncoder], task_features: int = 0
) -> EncoderSpec:
    """The encoder for observations of this space; pictures with a frozen network count as vectors.

    Raises:
        SettingError: there are pictures of several sizes.
    """
    spaces = dict(getattr(space, "spaces", {PLAIN: space}))
    tasks = spaces.pop(TASK).shape[0] if TASK in spaces else 0
    images = {k: s for k, s in spaces.items() if _is_picture(s) and k not in frozen}
    vectors = {
        k: int(frozen[k].size) if k in frozen else int(np.prod(s.shape)) for k, s in spaces.items() if k not in images
    }
    sizes = {key: s.shape[:2] for key, s in images.items()}
    if len(set(sizes.values())) > 1:
        found = ", ".join(f"{key} {size}" for key, size in sizes.items())
        raise SettingError(f"pictures: expected one size of all, found {found}; bring them to one size")
    height, width = next(iter(sizes.values()), (0, 0))
    return EncoderSpec(
        vectors=vectors,
        images=tuple(images),
        image_size=(round(height * config.crop), round(width * config.crop)),
        tasks=tasks,
        task_features=task_features if tasks else 0,
        channels=config.channels,
        kernels=config.kernels,
        strides=config.strides,
    )


def _is_picture(space: gymnasium.Space[Any]) -> bool:
    shape = space.shape or ()
    return space.dtype == np.uint8 and len(shape) == 3 and shape[2] == 3


class ObservationPolicy(BasePolicy):
    """Acts from arrays or dictionaries of arrays, whose keys may hold dots, with pictures as `(H, W, 3)` uint8.

    Args:
        make_update: features and number of actions -> the algorithm's networks; they have an `actor` with `mode` and
            `sample`, and `step(batch)`.
    """

    def __init__(
        self,
        observation_space: gymnasium.Space[Any],
        action_space: gymnasium.spaces.Box,
        lr_schedule: Any,
        make_update: Callable[[int, int], nn.Module],
        encoder: EncoderConfig,
        frozen: Mapping[str, FeatureEncoder],
        task_embeddings: np.ndarray | None = None,
        use_sde: bool = False,
    ) -> None:
        super().__init__(observation_space, action_space, squash_output=True)
        self.frozen = dict(frozen)
        width = 0 if task_embeddings is None else task_embeddings.shape[1]
        self.encoder = ObservationEncoder(encoder_spec(observation_space, encoder, frozen, width))
        if task_embeddings is not None:
            self.encoder.set_task_embeddings(task_embeddings)
        self.update = make_update(self.encoder.features, int(action_space.shape[0]))
        self.encoder_optimizer: torch.optim.Optimizer | None = None
        if self.encoder.trained:
            self.encoder_optimizer = torch.optim.Adam(self.encoder.parameters(), lr=encoder.learning_rate)

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Every optimiser by its place in this object ("update.actor_optimizer")."""
        found = {f"update.{k}": v for k, v in vars(self.update).items() if isinstance(v, torch.optim.Optimizer)}
        if self.encoder_optimizer is not None:
            found["encoder_optimizer"] = self.encoder_optimizer
        return found

    def encode(self, observation: Any) -> Tensor:
        """Features `(B, F)` of tensors as the environment gives them, task included."""
        known = observation if isinstance(observation, Mapping) else {PLAIN: observation}
        parts = {key: value for key, value in known.items() if key != TASK}
        for key, network in self.frozen.items():
            parts[key] = torch.from_numpy(network(parts[key].cpu().numpy())).to(self.device)
        features: Tensor = self.encoder(parts, known.get(TASK))
        return features

    def _predict(self, observation: Any, deterministic: bool = False) -> Tensor:
        """Actions `(B, A)` in [-1, 1]; `predict` scales them to the action space."""
        features = self.encode(observation)
        act = getattr(self.update, "act", None)
        if act is not None:
            actions: Tensor = act(features, deterministic)
            return actions
        actor: Any = self.update.actor
        mode_or_sample: Tensor = actor.mode(features) if deterministic else actor.sample(features)[0]
        return mode_or_sample

    def forward(self, observation: Any, deterministic: bool = False) -> Tensor:
        """As `_predict`."""
        return self._predict(observation, deterministic)
