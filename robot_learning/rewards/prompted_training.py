"""Fits a prompted reward model to labelled frames: LoRA adapters where they are wanted, then calibration and thresholds.

Without LoRA all frames are answered and calibrated on; the figures come from calibrations that had not seen the frame's episode.
With LoRA a part of the episodes is held out from the adapters, and only these calibrate and give the figures.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from robot_learning.rewards.embedded import Calibration
from robot_learning.rewards.lora import Look, LoraConfig, LoraTraining, add_lora, train_lora
from robot_learning.rewards.metrics import UNKNOWN, platt
from robot_learning.rewards.prompted import Answers, Asker
from robot_learning.rewards.questions import QuestionBook
from robot_learning.rewards.training import HeadTraining, LabelledMaps, calibrate, check_labels, fold_of, seen_by
from robot_learning.rewards.vlm import LocalVlm

Report = Callable[[int, str], None]
CHUNK = 8  # frames between two reports


@dataclass(frozen=True)
class LabelledPictures:
    """N frames whose pictures are looked at when they are needed: `look(rows)`, labels `(N, Q)`, episodes `(N,)`.

    Frames of no episode (-1) are learned from by LoRA, and calibrate nothing: a person answered them because they are hard.
    """

    look: Look
    labels: np.ndarray
    episodes: np.ndarray


@dataclass(frozen=True)
class Fitted:
    """What fitting found.

    Attributes:
        calibration, other: of the known questions, and slope and offset for the others.
        held_out: P(yes) `(n, Q)` by calibrations that had not seen the frame's episode, with their labels `(n, Q)`.
        share: mean P(yes) + P(no) of the first word, NaN where it is not known.
    """

    calibration: Calibration
    other: tuple[float, float]
    held_out: np.ndarray
    labels: np.ndarray
    share: float


def fit_prompted(
    asker: Asker,
    data: LabelledPictures,
    book: QuestionBook,
    training: HeadTraining,
    report: Report = lambda done, words: None,
) -> Fitted:
    """Answer all frames and calibrate; `report(frames done, words)` is called now and then.

    Raises:
        LabelError: a question has only one answer, or there are fewer episodes than folds. UserError: the asker does not answer.
    """
    maps = as_maps(data)
    check_labels(maps, book, training)
    answers = answer_all(asker, data, book, report)
    folds = fold_of(maps, training.folds, np.random.default_rng(training.seed))
    held_out = np.zeros(answers.logits.shape, np.float32)
    for part in range(training.folds):
        seen, unseen = folds != part, folds == part
        apart = calibrate(answers.logits[seen, None], data.labels[seen], training.false_positive_rate)
        held_out[unseen] = apart.probability(answers.logits[unseen])
    known = np.isfinite(answers.share) & (data.labels != UNKNOWN)
    return Fitted(
        calibrate(answers.logits[:, None], data.labels, training.false_positive_rate),
        platt(answers.logits.ravel(), data.labels.ravel()),
        held_out,
        data.labels,
        float(answers.share[known].mean()) if known.any() else float("nan"),
    )


def answer_all(asker: Asker, data: LabelledPictures, book: QuestionBook, report: Report) -> Answers:
    """Logits and shares `(N, Q)`; a question is asked only about frames in which somebody knows the answer."""
    logits, share = np.zeros(data.labels.shape, np.float32), np.full(data.labels.shape, np.nan, np.float32)
    for start in range(0, len(data.labels), CHUNK):
        rows = np.arange(start, min(start + CHUNK, len(data.labels)))
        pictures = data.look(rows)
        for q, text in enumerate(book.texts):
            known = data.labels[rows, q] != UNKNOWN
            if known.any():
                found = asker.ask([camera[known] for camera in pictures], [text])
                logits[rows[known], q], share[rows[known], q] = found.logits[:, 0], found.share[:, 0]
        report(int(rows[-1]) + 1, "answers")
    return Answers(logits, share)


def fit_with_lora(
    vlm: LocalVlm,
    data: LabelledPictures,
    book: QuestionBook,
    training: HeadTraining,
    lora: LoraConfig,
    steps: LoraTraining,
    report: Report = lambda done, words: None,
) -> Fitted:
    """Add adapters, train them on all but one fold of the episodes, and calibrate on that fold.

    `report(steps and frames done, words)`. Raises as `fit_prompted`, and `VlmError`.
    """
    maps = as_maps(data)
    check_labels(maps, book, training)
    folds = fold_of(maps, training.folds, np.random.default_rng(training.seed))
    kept = np.flatnonzero(folds == 0)
    apart = LabelledPictures(lambda rows: data.look(kept[rows]), data.labels[kept], data.episodes[kept])
    calibrating = replace(training, folds=min(training.folds, len(np.unique(apart.episodes))))
    check_labels(as_maps(apart), book, calibrating)
    add_lora(vlm, lora, steps.seed)
    for step, loss in train_lora(
        vlm, data.look, data.labels, seen_by(folds, 0, training.answered_weight), book.texts, steps
    ):
        report(step, f"LoRA, loss {loss:.3f}")
    return fit_prompted(vlm, apart, book, calibrating, lambda done, words: report(steps.steps + done, words))


def as_maps(data: LabelledPictures) -> LabelledMaps:
    """The same labels without features, for what looks at labels and episodes only."""
    return LabelledMaps(np.zeros((len(data.labels), 1, 0), np.float16), data.labels, data.episodes)
