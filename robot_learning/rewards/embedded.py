"""The embedded reward model: frozen image features, a frozen sentence embedding and a small trained head; no download.

Features are EfficientNet-Lite0's (ImageNet), embeddings all-MiniLM-L6-v2's; only `QuestionAttention` (83 200 parameters)
is trained, once for each fold of the data, and the mean of the heads' logits answers. It knows what it was trained on, and is
no large vision-language model: see docs/rewards.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from robot_learning.networks.efficientnet import CHANNELS, FINE_CHANNELS, EfficientNetLite0, load_efficientnet_lite0
from robot_learning.networks.language import WIDTH, embed_sentences
from robot_learning.networks.question_attention import QuestionAttention
from robot_learning.rewards.metrics import sigmoid
from robot_learning.rewards.model import Images, batch_of
from robot_learning.rewards.questions import QuestionBook

BATCH = 8  # pictures in one pass: more do not fit the cache of a CPU core and cost more each


@dataclass(frozen=True)
class EmbeddedConfig:
    """What fixes the shape of the model."""

    cameras: tuple[str, ...] = ("front",)
    """Cameras it looks through."""
    image_size: int = 160
    """Height and width that pictures are resized to [pixel]."""
    fine: bool = True
    """Use the features of stride 8 beside those of stride 16: a centimetre at a metre is two pixels."""
    width: int = 48
    """Width of a token."""
    queries: int = 4
    """Places a question can look at."""
    hidden: int = 96
    """Width of the perceptron."""


@dataclass(frozen=True)
class Calibration:
    """How logits become decisions: P(yes) is `sigmoid(slope * logit + offset)`, with a slope and an offset for each question.

    From P(yes) = `threshold` on the answer is yes, up to `no_threshold` it is no; these are the same for all questions.
    """

    slopes: tuple[float, ...]
    offsets: tuple[float, ...]
    threshold: float = 0.5
    no_threshold: float = 0.5

    def check(self, questions: int) -> None:
        """Raises `ValueError` when it is not of so many questions, or holds what is no number."""
        if {len(self.slopes), len(self.offsets)} != {questions}:
            found = len(self.slopes), len(self.offsets)
            raise ValueError(f"calibration: expected {questions} slopes and offsets, found {found}")
        if not np.isfinite([*self.slopes, *self.offsets, self.threshold, self.no_threshold]).all():
            raise ValueError(f"calibration: expected numbers, found {self}")

    def probability(self, logits: np.ndarray) -> np.ndarray:
        """Calibrated P(yes), float32, for logits `(..., Q)`."""
        return sigmoid(np.array(self.slopes) * logits.astype(np.float64) + np.array(self.offsets)).astype(np.float32)


class FeatureExtractor:
    """Pictures to feature maps `(B, cameras, channels, h, w)` float32; the backbone is loaded with the first picture."""

    def __init__(self, config: EmbeddedConfig) -> None:
        self.config = config
        self._backbone: EfficientNetLite0 | None = None

    def resize(self, images: np.ndarray) -> np.ndarray:
        """`(B, H, W, 3)` uint8 to the size of the model: averaged when smaller, interpolated when larger."""
        side = self.config.image_size
        if images.shape[1:3] == (side, side):
            return images
        way = cv2.INTER_AREA if min(images.shape[1:3]) > side else cv2.INTER_LINEAR
        return np.stack([cv2.resize(image, (side, side), interpolation=way) for image in images])

    def __call__(self, images: Sequence[np.ndarray]) -> Tensor:
        """The maps of one batch `(B, H, W, 3)` for each camera. Raises `MissingWeightsError`."""
        if self._backbone is None:
            self._backbone = load_efficientnet_lite0()
        by_camera = []
        for batch in images:
            sized = torch.from_numpy(np.ascontiguousarray(self.resize(batch)))
            look = self._backbone.both_scales if self.config.fine else self._backbone
            by_camera.append(torch.cat([look(part) for part in sized.split(BATCH)]))
        return torch.stack(by_camera, dim=1)


def new_head(config: EmbeddedConfig) -> QuestionAttention:
    """An untrained head of the configured shape."""
    channels = CHANNELS + FINE_CHANNELS if config.fine else CHANNELS
    return QuestionAttention(channels, WIDTH, len(config.cameras), config.width, config.queries, config.hidden)


class EmbeddedReward:
    """A `RewardModel` on the CPU: about 10 ms for one picture and all questions.

    Args:
        config: its shape. book: the questions it knows. heads: trained; their logits are averaged.
        calibration: from logits to decisions. facts: rows of the model card.
    """

    def __init__(
        self,
        config: EmbeddedConfig,
        book: QuestionBook,
        heads: Sequence[QuestionAttention],
        calibration: Calibration,
        facts: dict[str, Any] | None = None,
    ) -> None:
        self.config, self.book, self.calibration = config, book, calibration
        self.heads = nn.ModuleList(heads).eval().requires_grad_(False)
        self.facts = dict(facts or {})
        self.features = FeatureExtractor(config)
        first = [int(np.flatnonzero(book.owner == q)[0]) for q in range(len(book.questions))]
        self._asked = torch.from_numpy(np.ascontiguousarray(book.vectors[first]))

    @property
    def questions(self) -> tuple[str, ...]:
        """The canonical texts."""
        return self.book.texts

    @property
    def cameras(self) -> tuple[str, ...]:
        """Short names of the cameras."""
        return self.config.cameras

    @property
    def threshold(self) -> float:
        """From this P(yes) on the answer is yes."""
        return self.calibration.threshold

    @property
    def no_threshold(self) -> float:
        """Up to this P(yes) the answer is no, with the same rate of error."""
        return self.calibration.no_threshold

    def probabilities(self, images: Images) -> np.ndarray:
        """P(yes) of every known question: `(Q,)`, or `(B, Q)` for batches. Raises `PictureError`."""
        pictures, batched = batch_of(images, self.cameras)
        answers = self.calibration.probability(self.logits(self.features(pictures)))
        return answers if batched else answers[0]

    def probability(self, images: Images, question: str) -> float | np.ndarray:
        """P(yes) for any wording of a known question: a float, or `(B,)`. Raises `QuestionError`, `PictureError`."""
        match = self.book.match(question)
        answers = self.probabilities(images)[..., match.index]
        answers = 1 - answers if match.negated else answers
        return float(answers) if answers.ndim == 0 else answers

    def success(self, images: Images, question: str) -> bool | np.ndarray:
        """Whether the answer is yes, at the threshold: a bool, or `(B,)` bool. Raises `QuestionError`, `PictureError`."""
        match = self.book.match(question)
        answers = self.probabilities(images)[..., match.index]
        yes = answers <= self.no_threshold if match.negated else answers >= self.threshold
        return bool(yes) if yes.ndim == 0 else yes

    @torch.no_grad()
    def logits(self, maps: Tensor) -> np.ndarray:
        """Mean logits `(B, Q)` of the heads for maps `(B, cameras, channels, h, w)`, of the canonical questions."""
        return torch.stack([head(maps, self._asked) for head in self.heads]).mean(dim=0).numpy()


def make_book(questions: Sequence[Any], vectors: np.ndarray | None = None) -> QuestionBook:
    """The questions with MiniLM's embeddings; it is only loaded for wordings that are not in `vectors`."""
    return QuestionBook(questions, embed_sentences, vectors)
