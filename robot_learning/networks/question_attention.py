"""QuestionAttention: answers yes/no questions about feature maps, each question looking where it wants to."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


def position_code(height: int, width: int, channels: int) -> Tensor:
    """Sines and cosines of row and column, `(height * width, channels)`; `channels` is a multiple of 4."""
    count = channels // 4
    frequencies = math.pi * 2.0 ** torch.linspace(-1.0, 2.5, count)  # from half a wave across the picture to 5.6
    rows, columns = torch.meshgrid(torch.linspace(0, 1, height), torch.linspace(0, 1, width), indexing="ij")
    angles = torch.stack([rows.flatten(), columns.flatten()], dim=1)[:, :, None] * frequencies  # (h w, 2, count)
    return torch.cat([angles.sin(), angles.cos()], dim=-1).flatten(1)


class QuestionAttention(nn.Module):
    """Maps of one or more cameras and embeddings of questions to a logit for each pair of picture and question.

    Every cell of a map becomes a token with its place in the picture. A question asks with several queries, whose weighted
    means of the tokens go through a perceptron that the question modulates (FiLM, Perez et al. 2018). All questions share the
    weights, and so one pass over the picture answers all of them.

    Args:
        channels: of the maps. question: width of the embeddings. cameras: number of maps.
        width: of a token. queries: places a question can look at. hidden: of the perceptron.
    """

    mean: Tensor
    scale: Tensor
    question_mean: Tensor
    question_scale: Tensor

    def __init__(
        self,
        channels: int = 112,
        question: int = 384,
        cameras: int = 1,
        width: int = 48,
        queries: int = 4,
        hidden: int = 96,
    ) -> None:
        super().__init__()
        self.width, self.queries = width, queries
        self.token = nn.Linear(channels, width)
        self.camera = nn.Parameter(torch.zeros(cameras, width))
        self.norm = nn.LayerNorm(width)
        self.key, self.value = nn.Linear(width, width), nn.Linear(width, width)
        self.question = nn.Linear(question, width)
        self.query = nn.Linear(width, queries * width)
        self.pooled = nn.Linear(queries * width, hidden)
        self.film = nn.Linear(width, 2 * hidden)
        self.inner, self.out = nn.Linear(hidden, hidden), nn.Linear(hidden, 1)
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("scale", torch.ones(channels))
        self.register_buffer("question_mean", torch.zeros(question))
        self.register_buffer("question_scale", torch.ones(()))

    def standardise(self, maps: Tensor, questions: Tensor) -> None:
        """Fix the scales of the inputs from samples: maps `(B, cameras, channels, h, w)`, embeddings `(n, question)`.

        The embeddings of questions about one scene have most in common; what tells them apart is what is left of the mean.
        """
        channels = maps.float().movedim(2, -1).flatten(0, -2)
        self.mean.copy_(channels.mean(dim=0))
        self.scale.copy_(channels.std(dim=0).clamp(min=1e-3))
        self.question_mean.copy_(questions.mean(dim=0))
        self.question_scale.copy_((questions - self.question_mean).square().mean().sqrt().clamp(min=1e-3))

    def forward(self, maps: Tensor, questions: Tensor) -> Tensor:
        """Logits `(B, Q)` for maps `(B, cameras, channels, h, w)` and the embeddings `(Q, question)`."""
        tokens = self._tokens(maps)
        asked = torch.relu(self.question((questions - self.question_mean) / self.question_scale))  # (Q, width)
        query = self.query(asked).reshape(-1, self.width)  # (Q queries, width)
        weights = (self.key(tokens) @ query.T / math.sqrt(self.width)).softmax(dim=1)  # (B, tokens, Q queries)
        seen = weights.transpose(1, 2) @ self.value(tokens)  # (B, Q queries, width)
        pooled = self.pooled(seen.reshape(len(maps), len(questions), -1))  # (B, Q, hidden)
        gain, shift = self.film(asked).chunk(2, dim=-1)
        logits: Tensor = self.out(torch.relu(self.inner(torch.relu(pooled * (1 + gain) + shift))))
        return logits.squeeze(-1)

    def _tokens(self, maps: Tensor) -> Tensor:
        """`(B, cameras h w, width)`."""
        height, width = maps.shape[-2:]
        weight = self.token.weight / self.scale  # the scales of the inputs are folded in: the maps are large
        bias = self.token.bias - weight @ self.mean
        cells = (weight @ maps.flatten(3)).transpose(2, 3) + bias  # (B, cameras, h w, width)
        place = position_code(height, width, self.width).to(cells)
        tokens: Tensor = self.norm(cells + place + self.camera[:, None])
        return tokens.flatten(1, 2)
