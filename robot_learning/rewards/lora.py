"""Low-rank adapters (LoRA, Hu et al. 2021, arXiv 2106.09685) for a local vision-language model, by peft.

The loss is -log P(the right answer) of the first token, over the whole vocabulary and all spellings of yes or no: it teaches
which answer is right, and to answer in these words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np
import torch
from torch import Tensor

from robot_learning.rewards.vlm import EXTRA, LocalVlm, LoraConfig, VlmError

Look = Callable[[np.ndarray], Sequence[np.ndarray]]
"""Rows of the data to their pictures `(n, H, W, 3)`, for each camera."""


@dataclass(frozen=True)
class LoraTraining:
    """How adapters are trained."""

    steps: int = 300
    """Gradient steps."""
    batch: int = 8
    """Pictures in a batch, half of them "yes"; a batch asks one question."""
    learning_rate: float = 2e-4
    """Of AdamW, falling to zero along a line."""
    seed: int = 0
    """Of the adapters and the batches."""


def add_lora(vlm: LocalVlm, config: LoraConfig, seed: int = 0) -> None:
    """Give the model adapters that change nothing yet. Raises `VlmError`: no peft, or no such layer."""
    if find_spec("peft") is None:
        raise VlmError(f"LoRA: expected the package peft, found none. Install it: {EXTRA}")
    import peft

    shape = peft.LoraConfig(r=config.rank, lora_alpha=config.alpha, target_modules=config.target)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            vlm.network = peft.get_peft_model(vlm.network, shape)
    except ValueError as error:
        raise VlmError(f"LoRA: expected layers whose names match {config.target!r}, found none ({error})") from error
    vlm.network.eval()
    vlm.lora = config


def lora_weights(vlm: LocalVlm) -> dict[str, Tensor]:
    """The adapters' tensors by name, for a checkpoint."""
    import peft

    return {k: v.detach().cpu().contiguous().clone() for k, v in peft.get_peft_model_state_dict(vlm.network).items()}


def set_lora_weights(vlm: LocalVlm, weights: Mapping[str, Tensor]) -> None:
    """Put tensors into the adapters. Raises `ValueError` when they are of other adapters."""
    import peft

    expected = {name: tuple(tensor.shape) for name, tensor in lora_weights(vlm).items()}
    found = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    if expected != found:
        wrong = sorted(name for name in {*expected, *found} if expected.get(name) != found.get(name))
        raise ValueError(
            f"adapters: expected those of {vlm.model}, found others ({len(wrong)} differ, first {wrong[0]!r})"
        )
    peft.set_peft_model_state_dict(vlm.network, dict(weights))


def train_lora(
    vlm: LocalVlm, look: Look, labels: np.ndarray, rows: np.ndarray, questions: Sequence[str], training: LoraTraining
) -> Iterator[tuple[int, float]]:
    """Train the adapters in place on `rows` of the labels `(N, Q)` (1, 0, -1); yields the step and its loss.

    Questions to which the rows have only one answer are left out. Raises `VlmError` when none is left.
    """
    pools = {q: p for q in range(labels.shape[1]) if all(map(len, p := _pools(labels[:, q], rows)))}
    if not pools:
        raise VlmError("LoRA: expected a question with frames of both answers to train on, found none")
    rng = np.random.default_rng(training.seed)
    parameters = [p for p in vlm.network.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(parameters, lr=training.learning_rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: 1.0 - step / max(training.steps, 1))
    vlm.network.train()
    try:
        for step in range(1, training.steps + 1):
            question = int(rng.choice(list(pools)))
            half = max(training.batch // 2, 1)
            chosen = np.concatenate([rng.choice(pool, half) for pool in pools[question]])
            loss = _loss(vlm, look(chosen), questions[question], torch.arange(2).repeat_interleave(half))
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimiser.step()
            schedule.step()
            yield step, float(loss.detach())
    finally:
        vlm.network.eval()


def _pools(column: np.ndarray, rows: np.ndarray) -> list[np.ndarray]:
    """The rows with the answer no, and those with yes."""
    return [rows[column[rows] == answer] for answer in (0, 1)]


def _loss(vlm: LocalVlm, pictures: Sequence[np.ndarray], question: str, truth: Tensor) -> Tensor:
    """Mean of -log P(the right answer); truth `(B,)` is 1 for yes."""
    scores = vlm.log_probabilities(pictures, question)
    return -scores.gather(1, (1 - truth)[:, None]).mean()
