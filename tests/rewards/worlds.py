"""Small made-up worlds for reward models: pictures are noise, but one channel of the features tells the answer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from robot_learning.networks.language import WIDTH
from robot_learning.rewards import Question, QuestionBook
from robot_learning.rewards.training import LabelledMaps

QUESTIONS = (
    Question("is the drawer open?", ("has the drawer been opened?", "is the drawer pulled out?")),
    Question("is the drawer closed?", ("has the drawer been closed?",)),
    Question("is the red lamp lit?", ("is the red light on?", "has the red button been pressed?")),
)


def embed(sentences: Sequence[str]) -> np.ndarray:
    """Unit vectors of sentences by their words: those that share words are near."""
    rows = []
    for sentence in sentences:
        words = sentence.lower().strip("?").split() or ["?"]
        rows.append(np.sum([_word(word) for word in words], axis=0))
    stacked = np.stack(rows).astype(np.float32)
    unit: np.ndarray = stacked / np.linalg.norm(stacked, axis=1, keepdims=True)
    return unit


def _word(word: str) -> np.ndarray:
    return np.random.default_rng(list(word.encode())).standard_normal(WIDTH)


def book(questions: Sequence[Question] = QUESTIONS) -> QuestionBook:
    return QuestionBook(questions, embed)


def labelled_maps(episodes: int = 12, length: int = 10, seed: int = 0, variants: int = 2) -> LabelledMaps:
    """Episodes in which each question becomes true half way; channel q of one cell says so for question q, but noisily."""
    rng = np.random.default_rng(seed)
    count = episodes * length
    labels = np.zeros((count, len(QUESTIONS)), np.int8)
    for episode in range(episodes):
        for q in range(len(QUESTIONS)):
            start = episode * length + rng.integers(3, length - 2)
            labels[start : (episode + 1) * length, q] = 1
    maps = (0.4 * rng.standard_normal((count, variants, 1, 112, 3, 3))).astype(np.float16)
    for q in range(len(QUESTIONS)):
        maps[:, :, 0, q, 1, 2] += 6 * labels[:, None, q].astype(np.float16)
    return LabelledMaps(maps, labels, np.repeat(np.arange(episodes), length))
