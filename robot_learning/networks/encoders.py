"""Image encoders: small strided CNNs whose features are keypoints in the picture."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from robot_learning.networks.efficientnet import CHANNELS, STRIDE


def multiplies_bfloat16() -> bool:
    """Whether this processor has instructions for it; without, bfloat16 is slower than float32."""
    known = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return any(supported() for supported in known if supported is not None)


class SpatialSoftmax(nn.Module):
    """Expected image coordinates of each channel (Finn et al. 2016, "Deep Spatial Autoencoders").

    `(B, C, H, W)` -> `(B, 2 C)`: all x then all y in [-1, 1], right and down positive. The temperature is learned.
    """

    grid: Tensor

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        y, x = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
        self.register_buffer("grid", torch.stack([x.flatten(), y.flatten()], dim=1), persistent=False)
        self.log_temperature = nn.Parameter(torch.zeros(()))

    def forward(self, features: Tensor) -> Tensor:
        """Keypoints `(B, 2 C)` of the maps `(B, C, H, W)`; of maps in channels-last memory nothing is copied."""
        places = features.permute(0, 2, 3, 1).flatten(1, 2)  # (B, H W, C)
        attention = (places * torch.exp(-self.log_temperature)).softmax(dim=1)
        points: Tensor = self.grid.T.expand(len(places), -1, -1) @ attention  # (B, 2, C)
        return points.flatten(1)


class SpatialSoftmaxCNN(nn.Module):
    """Convolutions, FiLM by the task (Perez et al. 2018), then one keypoint per output channel.

    No normalisation layers: they cost as much as the convolutions on a CPU, and three or four layers train without.

    Attributes:
        in_bfloat16: train the convolutions in bfloat16, weights and keypoints in float32; acting is in float32 all the same.

    Args:
        size: `(height, width)` of the images it will see [pixels].
        channels, kernels, strides: one per convolution, each padded by `kernel // 2`.
        condition: width of the conditioning vector, 0 for none.
    """

    def __init__(
        self,
        size: tuple[int, int],
        channels: Sequence[int] = (16, 32, 32),
        kernels: Sequence[int] = (5, 3, 3),
        strides: Sequence[int] = (2, 2, 1),
        condition: int = 0,
    ) -> None:
        super().__init__()
        if not 2 <= len(channels) == len(kernels) == len(strides):
            counts = f"{len(channels)} channels, {len(kernels)} kernels, {len(strides)} strides"
            raise ValueError(f"a CNN needs at least 2 layers and one kernel and stride for each, found {counts}")
        layers, width, (h, w) = [], 3, size
        for index, (out, kernel, stride) in enumerate(zip(channels, kernels, strides, strict=True)):
            biased = index < len(channels) - 1  # the softmax over space would cancel the last layer's
            layers.append(nn.Conv2d(width, out, kernel, stride, kernel // 2, bias=biased))
            h, w = ((side + 2 * (kernel // 2) - kernel) // stride + 1 for side in (h, w))
            width = out
        self.convolutions = nn.ModuleList(layers)
        for layer in layers:
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        self.film = nn.Linear(condition, 2 * channels[-2]) if condition else None
        self.keypoints = SpatialSoftmax(h, w)
        self.features = 2 * width
        self.in_bfloat16 = False

    def forward(self, images: Tensor, condition: Tensor | None = None) -> Tensor:
        """Features `(B, features)` of images `(B, 3, H, W)` given the condition `(B, condition)`."""
        film: tuple[Tensor, ...] = ()
        if self.film is not None and condition is not None:
            film = self.film(condition)[:, :, None, None].chunk(2, dim=1)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.in_bfloat16 and self.training):
            maps = images
            for layer in self.convolutions[:-2]:
                maps = torch.relu(layer(maps))
            maps = self.convolutions[-2](maps)
            if film:
                # not after the last layer: the softmax over space would cancel the shift
                scale, shift = (part.to(maps.dtype) for part in film)
                maps = maps * (1 + scale) + shift
            maps = self.convolutions[-1](torch.relu(maps))
        features: Tensor = self.keypoints(maps.to(images.dtype))
        return features


class FrozenKeypoints(nn.Module):
    """Keypoints in the maps of a frozen EfficientNet-Lite0: 1x1 convolution, FiLM by the task, 1x1 convolution, spatial softmax.

    Args:
        size: `(height, width)` of the images [pixels].
        width, keypoints: channels between and after the convolutions.
        condition: width of the conditioning vector.
    """

    def __init__(self, size: tuple[int, int], condition: int, width: int = 64, keypoints: int = 64) -> None:
        super().__init__()
        self.normal = nn.BatchNorm2d(CHANNELS, affine=False)  # the maps are not of one scale
        self.project = nn.Conv2d(CHANNELS, width, 1)
        self.film = nn.Linear(condition, 2 * width)
        self.point = nn.Conv2d(width, keypoints, 1, bias=False)
        self.keypoints = SpatialSoftmax(-(-size[0] // STRIDE), -(-size[1] // STRIDE))
        self.features = 2 * keypoints

    def forward(self, maps: Tensor, condition: Tensor) -> Tensor:
        """Features `(B, features)` of maps `(B, 112, h, w)` given the condition `(B, condition)`."""
        scale, shift = self.film(condition)[:, :, None, None].chunk(2, dim=1)
        features: Tensor = self.keypoints(self.point(torch.relu(self.project(self.normal(maps)) * (1 + scale) + shift)))
        return features
