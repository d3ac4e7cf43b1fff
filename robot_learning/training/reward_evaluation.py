"""How good a reward model is on a dataset: errors, AUC and calibration per question, and the pictures it got most wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from robot_learning.envs.tasks import TASKS
from robot_learning.rewards import EmbeddedReward, LabelError, PromptedReward, Quality, quality
from robot_learning.training.reward_frames import Frames, choose_frames, pictures
from robot_learning.training.reward_labels import SOURCES, playroom_questions

CHUNK = 32
LoadedReward = EmbeddedReward | PromptedReward  # a `RewardModel` with the book of its questions


@dataclass(frozen=True)
class Mistake:
    """A picture and a question that the model answered most wrongly: P(yes) against what was true."""

    root: str
    episode: int
    frame: int
    question: str
    probability: float
    truth: bool
    picture: np.ndarray


@dataclass(frozen=True)
class RewardEvaluation:
    """The result of `evaluate_reward`.

    Attributes:
        questions: quality by question; only those with a known label. all: of all answers together.
        threshold: at which P(yes) counts as yes. consecutive: frames in a row that end an episode.
        false_ends: episodes in which the model would have said "done" of the episode's own task when it was not;
            episodes: those with a known own task; missed_ends: those done in truth which it would never have called so.
        done: episodes done in truth. mistakes: the worst first.
    """

    questions: dict[str, Quality]
    all: Quality
    threshold: float
    consecutive: int
    episodes: int
    done: int
    false_ends: int
    missed_ends: int
    mistakes: list[Mistake] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON, without the pictures."""
        names = ("threshold", "consecutive", "episodes", "done", "false_ends", "missed_ends")
        return {
            "questions": {text: q.to_dict() for text, q in self.questions.items()},
            "all": self.all.to_dict(),
            **{name: getattr(self, name) for name in names},
        }


def evaluate_reward(
    model: LoadedReward,
    roots: Sequence[Path],
    sources: Sequence[str] = SOURCES,
    stride: int = 1,
    limit: int = 100_000,
    tolerance: float = 0.0,
    consecutive: int = 2,
    worst: int = 24,
    report: Callable[[int, str], None] = lambda done, words: None,
) -> RewardEvaluation:
    """Answer every labelled frame of datasets the model was not trained on, and compare.

    Raises:
        LabelError: no frame has a label, or a number is below 1. DatasetError: a dataset or camera is missing.
    """
    if consecutive < 1:
        raise LabelError(f"--consecutive: expected 1 frame or more in a row, found {consecutive}")
    chosen = choose_frames(roots, model.book, stride, limit, sources, tolerance)
    parts, done = [], 0
    for frames in chosen:
        parts.append(answer_frames(model, frames, lambda n, d=done: report(d + n, "frames")))  # type: ignore[misc]
        done += len(frames.rows)
    p, labels = np.concatenate(parts), np.concatenate([frames.labels for frames in chosen])
    known = [(q, text) for q, text in enumerate(model.questions) if (labels[:, q] >= 0).any()]
    ends = np.sum([_ends(model, f, part, consecutive) for f, part in zip(chosen, parts, strict=True)], axis=0)
    return RewardEvaluation(
        questions={text: quality(p[:, q], labels[:, q], model.threshold) for q, text in known},
        all=quality(p.ravel(), labels.ravel(), model.threshold),
        threshold=model.threshold,
        consecutive=consecutive,
        **dict(zip(("episodes", "done", "false_ends", "missed_ends"), ends.tolist(), strict=True)),
        mistakes=_mistakes(model, chosen, parts, worst),
    )


def answer_frames(model: LoadedReward, frames: Frames, report: Callable[[int], None] = lambda done: None) -> np.ndarray:
    """P(yes) `(N, Q)` for the frames."""
    answers = []
    for start in range(0, len(frames.rows), CHUNK):
        images = pictures(frames, model.cameras, slice(start, start + CHUNK))
        answers.append(model.probabilities(dict(zip(model.cameras, images, strict=True))))
        report(min(start + CHUNK, len(frames.rows)))
    return np.concatenate(answers) if answers else np.zeros((0, len(model.questions)), np.float32)


def runs_of(yes: np.ndarray, consecutive: int) -> np.ndarray:
    """Where the last `consecutive` answers `(T,)` were all yes, `(T,)` bool."""
    count, out = 0, np.zeros(len(yes), bool)
    for index, value in enumerate(yes):
        count = count + 1 if value else 0
        out[index] = count >= consecutive
    return out


def _ends(model: LoadedReward, frames: Frames, p: np.ndarray, consecutive: int) -> np.ndarray:
    """Episodes with a known own task; those done; called done at a frame where it was not; done but never called so."""
    counts = np.zeros(4, np.int64)
    own = {TASKS[name].instruction: q for q, name in playroom_questions(model.book).items()}
    for episode in np.unique(frames.episodes):
        question = own.get(frames.dataset.episode_tasks[episode])
        inside = frames.episodes == episode
        if question is None or not (frames.labels[inside, question] >= 0).any():
            continue
        truth = frames.labels[inside, question]
        called = np.flatnonzero(runs_of(p[inside, question] >= model.threshold, consecutive))
        done = bool((truth == 1).any())
        false = bool(len(called) and truth[called[0]] == 0)
        counts += [1, done, false, done and not len(called)]
    return counts


def _mistakes(model: LoadedReward, chosen: Sequence[Frames], parts: Sequence[np.ndarray], worst: int) -> list[Mistake]:
    """The most wrong answers; of neighbouring frames of an episode only the worst."""
    every = []
    for number, (frames, p) in enumerate(zip(chosen, parts, strict=True)):
        error = np.where(frames.labels < 0, -1.0, np.abs(p - np.maximum(frames.labels, 0)))
        every += [(error[n, q], number, n, q) for n, q in zip(*np.nonzero(error > 0.05), strict=True)]
    found: list[Mistake] = []
    taken: dict[tuple[int, int, int], list[int]] = {}
    for _, number, n, q in sorted(every, key=lambda e: -e[0]):
        if len(found) >= worst:
            break
        frames = chosen[number]
        episode, row = int(frames.episodes[n]), int(frames.rows[n])
        near = taken.setdefault((number, episode, int(q)), [])
        if any(abs(row - other) < 10 for other in near):
            continue
        near.append(row)
        picture = pictures(frames, model.cameras[:1], np.array([n]))[0][0]
        frame = row - int(frames.dataset.episode_ranges[episode][0])
        truth = bool(frames.labels[n, q] == 1)
        root = str(frames.dataset.root)
        found.append(Mistake(root, episode, frame, model.questions[q], float(parts[number][n, q]), truth, picture))
    return found
