import pytest
import torch

from robot_learning.networks import SpatialSoftmax, SpatialSoftmaxCNN


@pytest.mark.parametrize(("row", "column", "y", "x"), [(0, 0, -1, -1), (0, 8, -1, 1), (6, 4, 1, 0), (3, 4, 0, 0)])
def test_spatial_softmax_finds_a_peak(row: int, column: int, y: float, x: float) -> None:
    maps = torch.full((1, 1, 7, 9), -50.0)
    maps[0, 0, row, column] = 50.0
    torch.testing.assert_close(SpatialSoftmax(7, 9)(maps), torch.tensor([[float(x), float(y)]]))


def test_spatial_softmax_of_a_flat_map_is_the_centre() -> None:
    torch.testing.assert_close(SpatialSoftmax(5, 5)(torch.zeros(2, 3, 5, 5)), torch.zeros(2, 6))


@pytest.mark.parametrize("size", [(96, 96), (88, 88), (33, 47)])
def test_cnn_gives_two_numbers_per_channel_at_any_size(size: tuple[int, int]) -> None:
    encoder = SpatialSoftmaxCNN(size, channels=(4, 6), kernels=(5, 3), strides=(2, 2))
    assert encoder(torch.randn(2, 3, *size)).shape == (2, encoder.features) == (2, 12)


def test_cnn_takes_even_kernels() -> None:
    encoder = SpatialSoftmaxCNN((25, 30), channels=(4, 6), kernels=(6, 4), strides=(3, 1))
    assert encoder(torch.randn(2, 3, 25, 30)).shape == (2, 12)


def test_the_condition_changes_what_the_cnn_looks_at() -> None:
    torch.manual_seed(0)
    encoder = SpatialSoftmaxCNN((16, 16), channels=(4, 4), kernels=(3, 3), strides=(1, 1), condition=2)
    image = torch.randn(1, 3, 16, 16)
    first, second = (encoder(image, torch.tensor([c])) for c in ([1.0, 0.0], [0.0, 1.0]))
    assert not torch.allclose(first, second)


def test_cnn_refuses_lists_that_disagree() -> None:
    with pytest.raises(ValueError, match="2 kernels"):
        SpatialSoftmaxCNN((16, 16), channels=(4, 4, 4), kernels=(3, 3), strides=(1, 1, 1))


def trained_and_acting(in_bfloat16: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Features of an encoder in training, and of the same when it acts."""
    torch.manual_seed(0)
    encoder = SpatialSoftmaxCNN((16, 16), channels=(4, 4), kernels=(3, 3), strides=(1, 1), condition=2)
    encoder.in_bfloat16 = in_bfloat16
    image, condition = torch.randn(2, 3, 16, 16), torch.randn(2, 2)
    return encoder.train()(image, condition), encoder.eval()(image, condition)


def test_in_bfloat16_the_cnn_says_nearly_the_same() -> None:
    trained, acting = trained_and_acting(True)
    torch.testing.assert_close(trained, acting, rtol=0.0, atol=0.02)


def test_bfloat16_is_for_training_alone() -> None:
    torch.testing.assert_close(trained_and_acting(True)[1], trained_and_acting(False)[1], rtol=0.0, atol=0.0)


def test_bfloat16_is_used_where_it_is_wanted() -> None:
    assert not torch.equal(*trained_and_acting(True)) and torch.equal(*trained_and_acting(False))


@pytest.mark.parametrize("in_bfloat16", [False, True])
def test_the_cnn_learns_in_float32(in_bfloat16: bool) -> None:
    encoder = SpatialSoftmaxCNN((16, 16), channels=(4, 4), kernels=(3, 3), strides=(1, 1))
    encoder.in_bfloat16 = in_bfloat16
    encoder(torch.randn(2, 3, 16, 16)).sum().backward()
    assert {parameter.grad.dtype for parameter in encoder.parameters()} == {torch.float32}


def test_in_float64_nothing_is_rounded() -> None:
    encoder = SpatialSoftmaxCNN((16, 16), channels=(4, 4), kernels=(3, 3), strides=(1, 1), condition=2).double()
    assert encoder(torch.randn(1, 3, 16, 16).double(), torch.randn(1, 2).double()).dtype == torch.float64
