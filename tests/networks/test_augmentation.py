import numpy as np
import torch

from robot_learning.networks.augmentation import centre_crop, colour_jitter, random_crop, to_float

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 20, 24, 3), dtype=np.uint8)


def test_to_float_spans_minus_one_to_one() -> None:
    out = to_float(torch.tensor([[[[0, 255, 0]]]], dtype=torch.uint8))
    assert out.flatten().tolist() == [-1.0, 1.0, -1.0]


def test_to_float_keeps_channels_last_memory() -> None:
    assert to_float(torch.from_numpy(IMAGES)).is_contiguous(memory_format=torch.channels_last)


def test_centre_crop_cuts_the_middle() -> None:
    assert torch.equal(centre_crop(torch.from_numpy(IMAGES), (16, 20)), torch.from_numpy(IMAGES[:, 2:18, 2:22]))


def test_random_crop_cuts_windows_of_the_chosen_images() -> None:
    rows = np.array([4, 1])
    crops = random_crop(IMAGES, rows, (18, 21), np.random.default_rng(1)).numpy()
    for row, crop in zip(rows, crops, strict=True):
        windows = [IMAGES[row, y : y + 18, x : x + 21] for y in range(3) for x in range(4)]
        assert any(np.array_equal(crop, window) for window in windows)


def test_random_crop_of_the_full_size_changes_nothing() -> None:
    crops = random_crop(IMAGES, np.arange(6), (20, 24), np.random.default_rng(1))
    assert np.array_equal(crops.numpy(), IMAGES)


def test_one_seed_gives_one_augmentation() -> None:
    images = to_float(torch.from_numpy(IMAGES))
    first, second = (colour_jitter(images, 0.3, np.random.default_rng(7)) for _ in range(2))
    assert torch.equal(first, second)


def test_jitter_of_strength_zero_changes_nothing() -> None:
    images = to_float(torch.from_numpy(IMAGES))
    assert torch.equal(colour_jitter(images, 0.0, np.random.default_rng(7)), images)
