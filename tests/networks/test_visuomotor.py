import json

import pytest
import torch

from robot_learning.networks import VisuomotorNetwork, VisuomotorSpec


def spec(images: tuple[str, ...] = ("front", "wrist"), head: str = "l1") -> VisuomotorSpec:
    return VisuomotorSpec(
        images=images,
        image_size=(24, 20),
        vectors={"state": 3},
        tasks=2,
        action=5,
        horizon=4,
        channels=(4, 4),
        kernels=(5, 3),
        strides=(2, 1),
        hidden=(16,),
        head=head,
    )


@pytest.mark.parametrize("images", [(), ("front",), ("front", "wrist")])
@pytest.mark.parametrize("head", ["l1", "mixture", "flow"])
def test_it_predicts_chunks_from_any_set_of_cameras(images: tuple[str, ...], head: str) -> None:
    network = VisuomotorNetwork(spec(images, head))
    pictures = {key: torch.randn(3, 3, 24, 20) for key in images}
    out = network(pictures, {"state": torch.randn(3, 3)}, torch.tensor([0, 1, 0]))
    assert network.mode(out).shape == (3, 4, 5)


def test_the_spec_survives_json() -> None:
    assert VisuomotorSpec.from_dict(json.loads(json.dumps(spec().to_dict()))) == spec()


def test_every_parameter_gets_a_gradient() -> None:
    torch.manual_seed(0)
    network = VisuomotorNetwork(spec(head="mixture"))
    pictures = {key: torch.randn(8, 3, 24, 20) for key in ("front", "wrist")}
    out = network(pictures, {"state": torch.randn(8, 3)}, torch.tensor([0, 1] * 4))
    network.loss(out, torch.randn(8, 4, 5), torch.zeros(8, 4, dtype=torch.bool)).backward()
    assert [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()] == []
