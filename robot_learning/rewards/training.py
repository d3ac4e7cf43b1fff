"""Trains the heads of an embedded reward model on feature maps that were computed once.

Frames come with labels for many questions at once: 1 yes, 0 no, -1 nobody knows. Episodes are dealt to folds; each head is
trained without one fold and answers it, so every frame is judged by a head that never saw its episode. From these answers come
the calibration, the threshold and the figures in the model card.
"""

from __future__ import annotations

import copy
import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from robot_learning.errors import UserError
from robot_learning.networks.question_attention import QuestionAttention
from robot_learning.rewards.embedded import Calibration, EmbeddedConfig, new_head
from robot_learning.rewards.metrics import no_threshold_for, platt, threshold_for
from robot_learning.rewards.questions import QuestionBook
from robot_learning.settings import require_at_least, require_finite, require_more_than, require_shares

Report = Callable[[int, str], None]
ALWAYS = -1  # the fold of frames that every head learns from, and the episode of those that are of none
OWN_FRAMES = 10.0  # how strongly a question's calibration is drawn to that of all questions


class LabelError(UserError, ValueError):
    """The labels cannot teach that: too few episodes, or only one answer; says what is missing."""


class LossError(UserError, FloatingPointError):
    """The heads diverged."""


@dataclass(frozen=True)
class HeadTraining:
    """How the heads are trained."""

    steps: int = 1500
    """Gradient steps of each head; with augmentation, fewer underfit."""
    batch: int = 48
    """Pictures in a batch."""
    learning_rate: float = 1.5e-3
    """Highest of the one-cycle schedule."""
    weight_decay: float = 1e-2
    """Of AdamW."""
    smoothing: float = 0.01
    """Targets are this far from 0 and 1."""
    clean: float = 0.3
    """Share of pictures that are not augmented."""
    folds: int = 3
    """Heads, each trained without one part of the episodes; they answer together."""
    false_positive_rate: float = 0.01
    """Wanted share of "no" frames that are answered yes, on episodes not trained on."""
    changed_false_positive_rate: float = 0.03
    """The same of their changed copies, which are harder than most of what the robot will see."""
    answered_weight: int = 10
    """A picture that was answered by itself (of no episode) is drawn as often as so many frames of an episode."""
    seed: int = 0
    """Of the folds, the weights and the batches."""

    def __post_init__(self) -> None:
        require_at_least(self, 1, "steps", "batch")
        require_at_least(self, 0, "answered_weight")
        require_more_than(self, 0, "learning_rate")
        require_finite(self, "learning_rate")
        require_shares(self, "false_positive_rate", "changed_false_positive_rate", "clean")


@dataclass(frozen=True)
class LabelledMaps:
    """Features and labels of N frames.

    Attributes:
        maps: `(N, V, cameras, channels, h, w)` float16; V variants of each frame, the first one as it was seen.
        labels: `(N, Q)` int8: 1 yes, 0 no, -1 unknown. episodes: `(N,)` the episode of each frame; -1: of none,
            every head learns from it and none is judged by it.
    """

    maps: np.ndarray
    labels: np.ndarray
    episodes: np.ndarray


@dataclass(frozen=True)
class TrainedHeads:
    """The heads, the calibration, and the logits `(N, V, Q)` of each frame by the head that had not seen its episode.

    Frames of no episode have the logits 0.
    """

    heads: list[QuestionAttention]
    calibration: Calibration
    held_out: np.ndarray


def train_heads(
    data: LabelledMaps,
    book: QuestionBook,
    config: EmbeddedConfig,
    training: HeadTraining,
    report: Report = lambda step, words: None,
    start: Sequence[QuestionAttention] = (),
) -> TrainedHeads:
    """Train all heads; `report(steps done, words)` is called now and then.

    They begin anew, or as copies of those of `start`, which must have been held out from the same folds (`folds_key`).

    Raises:
        LabelError: a question has only one answer, or there are fewer episodes than folds. LossError: the loss is no number.
    """
    check_labels(data, book, training)
    parts = fold_of(data, training.folds, np.random.default_rng(training.seed))
    held_out = np.zeros((*data.maps.shape[:2], len(book.questions)), np.float32)
    heads = []
    for part in range(training.folds):
        seen, unseen = seen_by(parts, part, training.answered_weight), np.flatnonzero(parts == part)
        words, before = f"head {part + 1} of {training.folds}", part * training.steps
        seed = training.seed + 1000 * part
        head = copy.deepcopy(start[part]) if start else new_head_for(data, seen, book, config, seed)
        head.requires_grad_(True)
        for step, loss in optimise(head, data, seen, book, training, seed):
            report(before + step, f"{words}, loss {loss:.3f}")
        held_out[unseen] = answers(head, data.maps, unseen, book)
        heads.append(head)
    judged = parts != ALWAYS
    wanted = training.false_positive_rate, training.changed_false_positive_rate
    calibration = calibrate(held_out[judged], data.labels[judged], *wanted)
    return TrainedHeads(heads, calibration, held_out)


def seen_by(parts: np.ndarray, part: int, weight: int) -> np.ndarray:
    """The frames a head learns from that is held out from `part`, those of no episode `weight` times."""
    own = np.flatnonzero((parts != part) & (parts != ALWAYS))
    return np.concatenate([own, np.repeat(np.flatnonzero(parts == ALWAYS), weight)])


def check_labels(data: LabelledMaps, book: QuestionBook, training: HeadTraining) -> None:
    """Raises `LabelError` when a question has only one answer, or there are fewer episodes than folds."""
    episodes = len(np.unique(data.episodes[data.episodes != ALWAYS]))
    if training.folds < 2 or episodes < training.folds:
        raise LabelError(
            f"folds: expected 2 or more and as many episodes, found {training.folds} folds and {episodes} episodes"
        )
    poor = [
        f"{text!r} (yes {int((column == 1).sum())}, no {int((column == 0).sum())})"
        for text, column in zip(book.texts, data.labels[data.episodes != ALWAYS].T, strict=True)
        if not (column == 1).any() or not (column == 0).any()
    ]
    if poor:
        raise LabelError(
            f"labels: expected frames with the answer yes and frames with no for every question, found {', '.join(poor)}. "
            "Record both outcomes, label them (robot-learning reward label), or leave the question out (--ask)"
        )


def fold_of(data: LabelledMaps, folds: int, rng: np.random.Generator) -> np.ndarray:
    """The fold of each frame `(N,)`: whole episodes, those alike in their answers dealt out evenly; -1 for those of none."""
    own = data.episodes != ALWAYS
    episodes, place = np.unique(data.episodes[own], return_inverse=True)
    known = np.maximum(data.labels[own], 0).astype(np.float64)
    means = np.stack([known[place == e].mean(axis=0) for e in range(len(episodes))])  # (E, Q) share of yes
    alike = np.lexsort((rng.permutation(len(episodes)), *np.round(means.T, 1)))
    fold = np.empty(len(episodes), np.int64)
    fold[alike] = np.arange(len(episodes)) % folds
    parts = np.full(len(data.episodes), ALWAYS, np.int64)
    parts[own] = fold[place]
    return parts


def folds_key(data: LabelledMaps, training: HeadTraining) -> str:
    """A name that changes with what each head was held out from: the frames of episodes, their labels and the folds."""
    own = data.episodes != ALWAYS
    parts = fold_of(data, training.folds, np.random.default_rng(training.seed))[own]
    return hashlib.sha256(parts.tobytes() + data.episodes[own].tobytes() + data.labels[own].tobytes()).hexdigest()[:24]


def new_head_for(
    data: LabelledMaps, frames: np.ndarray, book: QuestionBook, config: EmbeddedConfig, seed: int
) -> QuestionAttention:
    """An untrained head whose inputs are scaled to these frames and questions."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = new_head(config)
    sample = np.random.default_rng(seed).choice(frames, min(len(frames), 256), replace=False)
    head.standardise(torch.from_numpy(data.maps[np.sort(sample), 0]), torch.from_numpy(book.vectors))
    return head


def optimise(
    head: QuestionAttention,
    data: LabelledMaps,
    frames: np.ndarray,
    book: QuestionBook,
    training: HeadTraining,
    seed: int,
) -> Iterator[tuple[int, float]]:
    """Train one head in place on `frames`; yields the step and the mean loss of the last 50 now and then."""
    rng = np.random.default_rng(seed)
    optimiser = torch.optim.AdamW(head.parameters(), lr=training.learning_rate, weight_decay=training.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, training.learning_rate, total_steps=training.steps)
    pools = class_pools(data.labels, frames)
    vectors = torch.from_numpy(np.ascontiguousarray(book.vectors))
    losses: list[float] = []
    for step in range(1, training.steps + 1):
        rows = np.array([rng.choice(pools[k]) for k in rng.integers(len(pools), size=training.batch)])
        variants = np.where(rng.random(len(rows)) < training.clean, 0, rng.integers(data.maps.shape[1], size=len(rows)))
        maps = torch.from_numpy(data.maps[rows, variants]).float()
        logits = head(maps, vectors[random_wordings(book, rng)])
        loss = balanced_loss(logits, torch.from_numpy(data.labels[rows]), training.smoothing)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(head.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        losses.append(float(loss.detach()))
        if not math.isfinite(losses[-1]):
            raise LossError(
                f"training: expected a loss, found {losses[-1]} in step {step}; lower --learning-rate "
                f"({training.learning_rate:g})"
            )
        if step % 50 == 0 or step == training.steps:
            yield step, float(np.mean(losses[-50:]))


def class_pools(labels: np.ndarray, frames: np.ndarray) -> list[np.ndarray]:
    """For every question and answer that occurs, the frames with it: each is drawn from as often as any other."""
    pools = [frames[labels[frames, q] == answer] for q in range(labels.shape[1]) for answer in (0, 1)]
    return [pool for pool in pools if len(pool)]


def random_wordings(book: QuestionBook, rng: np.random.Generator) -> np.ndarray:
    """A wording of each question, as rows of `book.vectors`, `(Q,)`."""
    return np.array([rng.choice(np.flatnonzero(book.owner == q)) for q in range(len(book.questions))])


def balanced_loss(logits: Tensor, labels: Tensor, smoothing: float) -> Tensor:
    """Binary cross entropy of `(B, Q)` over the known labels, in which yes and no of each question weigh the same.

    A single frame weighs no more than a tenth of its question, lest a rare answer be learned from one picture.
    """
    yes, no = (labels == 1).float(), (labels == 0).float()
    weight = sum(kind / kind.sum(dim=0).clamp(min=5.0) for kind in (yes, no))
    target = yes * (1 - 2 * smoothing) + smoothing
    losses = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    assert isinstance(weight, Tensor)
    return (losses * weight).sum() / weight.sum().clamp(min=1e-6)


@torch.no_grad()
def answers(
    head: QuestionAttention, maps: np.ndarray, frames: Sequence[int] | np.ndarray, book: QuestionBook
) -> np.ndarray:
    """Logits `(n, V, Q)` of the canonical questions for all variants of `frames`."""
    first = [int(np.flatnonzero(book.owner == q)[0]) for q in range(len(book.questions))]
    asked = torch.from_numpy(np.ascontiguousarray(book.vectors[first]))
    out = np.zeros((len(frames), maps.shape[1], len(first)), np.float32)
    for start in range(0, len(frames), 64):
        part = torch.from_numpy(maps[frames[start : start + 64]]).float()
        out[start : start + 64] = head(part.flatten(0, 1), asked).reshape(*part.shape[:2], -1).numpy()
    return out


def calibrate(
    logits: np.ndarray, labels: np.ndarray, false_positive_rate: float, changed_rate: float = 0.03
) -> Calibration:
    """Slopes, offsets and thresholds from the logits `(N, V, Q)` of frames not trained on; labels `(N, Q)`.

    Each question has a slope and an offset of its own, drawn to those of all questions, from changed copies as from the pictures
    themselves, as the robot will not see the very same scene again. The thresholds are for all questions together, since one
    question has few episodes: at most `false_positive_rate` of the pictures and `changed_rate` of the copies are answered
    wrongly, and they are never on the other side of a half.
    """
    every = np.broadcast_to(labels[:, None], logits.shape)
    pooled = platt(logits.ravel(), every.ravel())
    own = [platt(logits[..., q].ravel(), every[..., q].ravel(), pooled, OWN_FRAMES) for q in range(logits.shape[-1])]
    plain = Calibration(tuple(slope for slope, _ in own), tuple(offset for _, offset in own))
    p = plain.probability(logits)
    yes, no = [0.5], [0.5]
    for part, rate in ((slice(0, 1), false_positive_rate), (slice(1, None), changed_rate)):
        if p[:, part].size:
            found = p[:, part].ravel(), every[:, part].ravel(), rate
            yes.append(threshold_for(*found))
            no.append(no_threshold_for(*found))
    return replace(plain, threshold=max(yes), no_threshold=min(no))
