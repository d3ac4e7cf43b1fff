import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor

from robot_learning.algorithms.demonstrations import Demonstrations
from robot_learning.algorithms.frozen_features import FrozenFeatures
from robot_learning.contract import Contract

FRONT = "observation.images.front"


class Network:
    """Stands for the frozen one: each picture's means of 12 x 12 pixels; counts pictures."""

    seen = 0

    def __call__(self, pictures: Tensor) -> Tensor:
        self.seen += len(pictures)
        return torch.nn.functional.avg_pool2d(pictures, 12)


def episodes(lengths: list[int], seed: int = 0) -> Demonstrations:
    rng, total = np.random.default_rng(seed), sum(lengths)
    return Demonstrations(
        contract=Contract.load("ur5e_2f85").select([FRONT]).with_image_size(28, 28),
        images={FRONT: rng.integers(0, 256, (total, 28, 28, 3), dtype=np.uint8)},
        vectors={},
        actions=np.zeros((total, 5), np.float32),
        ends=np.repeat(np.cumsum(lengths), lengths),
        tasks=["open the drawer"],
        task_of=np.zeros(total, int),
    )


def first(data: Demonstrations, count: int) -> Demonstrations:
    """The first `count` episodes."""
    rows = int(np.unique(data.ends)[count - 1])
    return dataclasses.replace(
        data,
        images={FRONT: data.images[FRONT][:rows]},
        actions=data.actions[:rows],
        ends=data.ends[:rows],
        task_of=data.task_of[:rows],
    )


def store() -> FrozenFeatures:
    return FrozenFeatures(views=3, size=(24, 24), jitter=0.2, seed=5)


def drawn(features: FrozenFeatures, rows: list[int]) -> Tensor:
    return features(FRONT, np.array(rows), np.random.default_rng(1))


def test_maps_are_those_of_the_frames_asked_for() -> None:
    features, data = FrozenFeatures(views=1, size=(28, 28), jitter=0.0, seed=0), episodes([4, 50])
    features.extend(data, Network())
    expected = torch.from_numpy(data.images[FRONT][[40, 2]]).permute(0, 3, 1, 2).float() / 127.5 - 1
    expected = torch.nn.functional.avg_pool2d(expected, 12)
    assert torch.allclose(drawn(features, [40, 2]), expected, atol=2e-3)


def test_all_views_are_drawn() -> None:
    features = store()
    features.extend(episodes([4]), Network())
    assert len(torch.unique(drawn(features, [3] * 60), dim=0)) == 3


def test_prior_data_has_one_view_of_each_frame() -> None:
    features, network = store(), Network()
    features.extend(dataclasses.replace(episodes([4, 2]), prior=4), network)
    assert network.seen == 4 + 2 * 3
    assert len(torch.unique(drawn(features, [3] * 60), dim=0)) == 1
    assert len(torch.unique(drawn(features, [4] * 60), dim=0)) == 3


def test_data_that_has_grown_keeps_its_maps_and_only_new_frames_are_computed() -> None:
    data, grown, network = episodes([4, 40, 7]), store(), Network()
    grown.extend(first(data, 2), network)
    before = drawn(grown, list(range(44)))
    network.seen = 0
    grown.extend(data, network)
    assert network.seen == 7 * 3
    assert torch.equal(drawn(grown, list(range(44))), before)


def test_maps_that_grew_equal_those_computed_at_once() -> None:
    data, grown, straight = episodes([4, 40, 7]), store(), store()
    for count in (1, 2, 3):
        grown.extend(first(data, count), Network())
    straight.extend(data, Network())
    rows = list(range(51))
    assert torch.equal(drawn(grown, rows), drawn(straight, rows))


@pytest.mark.parametrize("lengths", [[5, 40], [3], [4, 40]])
def test_other_data_starts_anew(lengths: list[int]) -> None:
    features, other, straight = store(), episodes(lengths, seed=1), store()
    features.extend(episodes([4, 40]), Network())
    features.extend(other, Network())
    straight.extend(other, Network())
    assert torch.equal(drawn(features, [2, 1]), drawn(straight, [2, 1]))
