"""Which rows of a sum of gradients to compute."""

from __future__ import annotations

import torch
from torch import Tensor


def draw_rows(share: Tensor, rows: int, generator: torch.Generator | None = None) -> Tensor:
    """Random weights `(N, S)` whose mean is `share` `(N, S)` >= 0, about `rows` of each column (a state) above 0.

    Each term is kept with probability min(1, c share) and then divided by it (Horvitz and Thompson 1952), where c makes
    `rows` the expected number. One uniform number a state places a comb of unit spacing over the cumulated probabilities
    (systematic sampling): large terms are kept for certain with their exact weight, and the noise is smaller than that of
    independent draws.
    """
    if rows >= len(share):
        return share
    tiny = torch.finfo(share.dtype).tiny
    probability = (share * (rows / share.sum(0).clamp_min_(tiny))).clamp_max_(1.0)
    for _ in range(2):  # hand on what the terms kept for certain leave over; the estimate is unbiased with any c
        certain = probability >= 1.0
        rest = probability.masked_fill(certain, 0.0).sum(0)
        factor = (rows - certain.sum(0)).clamp_min_(0) / rest.clamp_min_(tiny)
        probability.mul_(factor.clamp_(1.0, 1e6)).clamp_max_(1.0)
    start = torch.rand(share.shape[1], dtype=share.dtype, device=share.device, generator=generator)
    comb = torch.cat([start[None], probability]).cumsum_(0).floor_()
    return torch.where(comb[1:] > comb[:-1], share / probability.clamp_min_(tiny), 0.0)
