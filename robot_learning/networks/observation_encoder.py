"""Observations of any make-up become one feature vector: vectors, pictures and the task."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from robot_learning.networks.augmentation import centre_crop, to_float
from robot_learning.networks.encoders import SpatialSoftmaxCNN

LARGEST = 10.0  # normalised vectors are clipped to this many standard deviations
SMALLEST_SCALE = 1e-4


@dataclass(frozen=True)
class EncoderSpec:
    """Everything that fixes the encoder's shape; it is stored in the checkpoint.

    Attributes:
        vectors: length of each vector, by key; frozen features of pictures are vectors too.
        images: camera keys; image_size: `(height, width)` after cropping [pixels].
        tasks: number of tasks; 0 where there is only one and nothing tells it.
        task_features: length of what a task becomes: its sentence's embedding, or 0 for the one-hot vector itself.
        channels, kernels, strides: of each camera's CNN.
    """

    vectors: dict[str, int]
    images: tuple[str, ...] = ()
    image_size: tuple[int, int] = (0, 0)
    tasks: int = 0
    task_features: int = 0
    channels: tuple[int, ...] = (16, 32, 32)
    kernels: tuple[int, ...] = (5, 3, 3)
    strides: tuple[int, ...] = (2, 2, 1)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return dataclasses.asdict(self)

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> EncoderSpec:
        """Reverse of `to_dict`, lists becoming tuples."""
        fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
        return EncoderSpec(**fields)


class ObservationEncoder(nn.Module):
    """Normalised vectors, one CNN per camera (conditioned on the task by FiLM), and the task, joined: `(B, features)`.

    Without cameras nothing here is trained.
    """

    shift: Tensor
    scale: Tensor
    task_table: Tensor

    def __init__(self, spec: EncoderSpec) -> None:
        super().__init__()
        self.spec = spec
        width = sum(spec.vectors.values())
        self.register_buffer("shift", torch.zeros(width))
        self.register_buffer("scale", torch.ones(width))
        embedded = spec.task_features or spec.tasks
        table = torch.zeros(spec.tasks, spec.task_features) if spec.task_features else torch.eye(spec.tasks)
        self.register_buffer("task_table", table)
        self.cameras = nn.ModuleList(
            SpatialSoftmaxCNN(spec.image_size, spec.channels, spec.kernels, spec.strides, embedded) for _ in spec.images
        )
        self.features = width + embedded + sum(camera.features for camera in self.cameras)  # type: ignore[misc]

    @property
    def trained(self) -> bool:
        """Whether there is anything to train."""
        return len(self.cameras) > 0

    def set_normalisation(self, mean: Mapping[str, np.ndarray], std: Mapping[str, np.ndarray]) -> None:
        """Standardise vectors by these statistics of each key; what never varies is only shifted."""
        shift = np.concatenate([np.ravel(mean[key]) for key in self.spec.vectors] or [np.zeros(0)])
        spread = np.concatenate([np.ravel(std[key]) for key in self.spec.vectors] or [np.zeros(0)])
        self.shift.copy_(torch.from_numpy(shift))
        self.scale.copy_(torch.from_numpy(np.where(spread < SMALLEST_SCALE, 1.0, spread)))

    def set_task_embeddings(self, table: np.ndarray) -> None:
        """The embedding `(tasks, task_features)` of each task's instruction."""
        self.task_table.copy_(torch.from_numpy(np.asarray(table, np.float32)))

    def forward(self, observation: Mapping[str, Tensor], task: Tensor | None = None) -> Tensor:
        """Features `(B, features)`.

        Args:
            observation: vectors `(B, n)`; pictures uint8 `(B, H, W, 3)`, of `image_size` or larger (then the middle counts).
            task: `(B, tasks)` one-hot, where there are several.
        """
        parts = []
        if self.spec.vectors:
            joined = torch.cat([observation[key].flatten(1) for key in self.spec.vectors], dim=1).to(self.shift.dtype)
            parts.append(((joined - self.shift) / self.scale).clamp(-LARGEST, LARGEST))
        embedding = None
        if self.spec.tasks:
            assert task is not None, "several tasks, and none was told"
            embedding = task.to(self.task_table.dtype) @ self.task_table
            parts.append(embedding)
        for key, camera in zip(self.spec.images, self.cameras, strict=True):
            parts.append(camera(to_float(centre_crop(observation[key], self.spec.image_size)), embedding))
        return torch.cat(parts, dim=1)
