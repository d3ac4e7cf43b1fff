import pytest
import torch

from robot_learning.networks.question_attention import QuestionAttention, position_code


@pytest.fixture
def network() -> QuestionAttention:
    torch.manual_seed(0)
    return QuestionAttention(channels=8, question=6, cameras=2, width=16, queries=2, hidden=12)


def maps(count: int = 3) -> torch.Tensor:
    return torch.randn(count, 2, 8, 4, 5, generator=torch.Generator().manual_seed(1))


def questions(count: int = 4) -> torch.Tensor:
    return torch.randn(count, 6, generator=torch.Generator().manual_seed(2))


def test_a_logit_for_each_picture_and_question(network: QuestionAttention) -> None:
    assert network(maps(3), questions(4)).shape == (3, 4)


def test_an_answer_does_not_depend_on_what_else_is_asked(network: QuestionAttention) -> None:
    together, alone = network(maps(), questions(4)), network(maps(), questions(4)[1:2])
    torch.testing.assert_close(together[:, 1:2], alone)


def test_an_answer_does_not_depend_on_the_other_pictures(network: QuestionAttention) -> None:
    torch.testing.assert_close(network(maps(3), questions())[2:], network(maps(3)[2:], questions()))


def test_it_sees_where_something_is(network: QuestionAttention) -> None:
    here, there = torch.zeros(1, 2, 8, 4, 5), torch.zeros(1, 2, 8, 4, 5)
    here[..., 0, 0], there[..., 3, 4] = 3.0, 3.0
    assert not torch.allclose(network(here, questions()), network(there, questions()))


def test_it_takes_maps_of_any_size(network: QuestionAttention) -> None:
    assert network(torch.randn(2, 2, 8, 7, 3), questions(1)).shape == (2, 1)


def test_inputs_are_scaled_to_the_samples(network: QuestionAttention) -> None:
    network.standardise(5 + 3 * torch.randn(400, 2, 8, 2, 2), 0.1 * questions(4) + 0.7)
    torch.testing.assert_close(network.mean, torch.full((8,), 5.0), atol=0.4, rtol=0.0)
    torch.testing.assert_close(network.scale, torch.full((8,), 3.0), atol=0.4, rtol=0.0)


def test_the_default_is_small() -> None:
    assert sum(parameter.numel() for parameter in QuestionAttention().parameters()) < 100_000


def test_every_cell_has_its_own_code() -> None:
    code = position_code(10, 10, 48)
    distances = torch.cdist(code, code) + 10 * torch.eye(100)
    assert code.shape == (100, 48)
    assert distances.min() > 0.1
