"""Trains an embedded reward model on datasets, from frames to a folder with a model card."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro

from robot_learning import paths
from robot_learning.envs.tasks import TASKS
from robot_learning.networks.question_attention import QuestionAttention
from robot_learning.rewards import (
    AugmentationConfig,
    EmbeddedConfig,
    EmbeddedReward,
    HeadTraining,
    LabelError,
    Question,
    load_questions,
    load_reward,
    quality,
    save_reward,
    train_heads,
)
from robot_learning.rewards.embedded import make_book
from robot_learning.rewards.questions import QuestionBook
from robot_learning.rewards.training import ALWAYS, LabelledMaps, TrainedHeads, folds_key
from robot_learning.training.progress import ProgressBar
from robot_learning.training.reward_frames import AnsweredFrames, Frames, answered_frames, choose_frames, make_maps
from robot_learning.training.reward_labels import SOURCES


@dataclass(frozen=True)
class RewardRun:
    """Everything that fixes a trained reward model."""

    dataset: tuple[Path, ...]
    """Folders of demonstrations, failures and play; the more kinds of states, the better."""
    output: Path = Path("runs/reward")
    """Folder of the reward model."""
    questions: Path | None = None
    """YAML file of questions and their wordings; those of the playroom when absent."""
    ask: tuple[str, ...] = ()
    """Questions to learn, or tasks of the simulator; when empty, those that the labels answer both ways."""
    labels: tuple[str, ...] = SOURCES
    """Where answers come from; later ones override: success (of the frame's own task), simulator, file (labels.csv)."""
    tolerance: float = 0.0
    """Leave out simulated frames in which things so far elsewhere would turn the answer [m]."""
    uncertain: tuple[Path, ...] = ()
    """Folders in which the reward node kept pictures; those answered are learned from too (reward label --uncertain)."""
    margin: float = 0.0
    """Leave out simulated frames that things so far elsewhere would turn from a yes into a no [m]. What is clearly a yes is then
    told from every no, so that practice ends with a little more than enough: no picture shows the last millimetre."""
    start: Path | None = None
    """Go on from this reward model (embedded), trained on the same data: a few hundred steps learn new answers."""
    stride: int = 1
    """Use every n-th labelled frame."""
    frames: int = 6000
    """Use at most so many frames, evenly chosen (a frame takes 54 kB in memory for each copy and camera)."""
    episodes: int = 3
    """With no --ask: learn questions that so many episodes answer with yes, and as many with no."""
    cache: Path | None = None
    """Folder to keep image features in, for the next training on the same frames."""
    network: Annotated[EmbeddedConfig, tyro.conf.arg(name="")] = field(default_factory=EmbeddedConfig)
    """Shape of the model."""
    augmentation: Annotated[AugmentationConfig, tyro.conf.arg(name="")] = field(default_factory=AugmentationConfig)
    """How pictures are changed."""
    training: Annotated[HeadTraining, tyro.conf.arg(name="")] = field(default_factory=HeadTraining)
    """How the heads are trained."""


def train_reward(run: RewardRun) -> EmbeddedReward:
    """Train, write `run.output`, and return the model.

    Raises:
        LabelError: the labels cannot teach the questions, or `run.start` learned from others.
        QuestionError: a question is not in the file. RewardCheckpointError: `run.start` is no reward model.
        DatasetError, MissingWeightsError: a dataset or a package is missing.
    """
    begun = time.process_time()
    book, chosen = labelled(run)
    data = features_of(run, [*chosen, *answered_frames(run.uncertain, book)])
    start = heads_of(run.start, run, book, data) if run.start else []
    seconds = {"features": time.process_time() - begun}
    steps = run.training.steps * run.training.folds
    with ProgressBar("train", steps, "steps") as bar:
        trained = train_heads(data, book, run.network, run.training, bar.update, start)
    seconds["heads"] = time.process_time() - begun - seconds["features"]
    facts = facts_of(run, book, data, trained, seconds)
    model = EmbeddedReward(run.network, book, trained.heads, trained.calibration, facts)
    save_reward(run.output, model)
    return model


def heads_of(start: Path, run: RewardRun, book: QuestionBook, data: LabelledMaps) -> list[QuestionAttention]:
    """The heads of a model to go on from, each held out from the fold it will be held out from again. Raises `LabelError`."""
    model = load_reward(start)
    if not isinstance(model, EmbeddedReward) or model.config != run.network or model.questions != book.texts:
        raise LabelError(f"{start}: expected an embedded model of the same shape and questions to go on from")
    if model.facts.get("folds") != folds_key(data, run.training):
        raise LabelError(
            f"{start}: it was trained on other data, labels or folds than these, so that no episode is sure to be unseen by it; "
            "train with the datasets, frames, folds and seed of then, and only new --uncertain answers, or without --start"
        )
    return [head for head in model.heads if isinstance(head, QuestionAttention)]


def features_of(run: RewardRun, chosen: Sequence[Frames | AnsweredFrames]) -> LabelledMaps:
    """The feature maps of the chosen frames, with a progress bar."""
    with ProgressBar("look", sum(len(frames.rows) for frames in chosen), "frames") as bar:
        return make_maps(chosen, run.network, run.augmentation, run.training.seed, run.cache, bar.update)


def labelled(
    run: RewardRun, make: Callable[[Sequence[Question]], QuestionBook] = make_book
) -> tuple[QuestionBook, list[Frames]]:
    """The questions to learn, as a book that `make` makes, and the frames that answer them.

    Raises:
        LabelError: no frame answers them. QuestionError: a question is not in the file.
    """
    every = load_questions(run.questions or paths.config("questions", "playroom.yaml"))
    book = make(every)
    if run.ask:
        asked = dict.fromkeys(book.match(TASKS[a].question if a in TASKS else a).index for a in run.ask)
        book = make([every[index] for index in asked])
    chosen = choose_frames(run.dataset, book, run.stride, run.frames, run.labels, run.tolerance, run.margin)
    if run.ask:
        return book, chosen
    answered = _answered_both_ways(book, chosen, run.episodes)
    if not answered:
        raise LabelError(
            f"labels: expected a question that {run.episodes} episodes answer with yes and {run.episodes} with no, found none "
            f"in {[str(root) for root in run.dataset]}; add failures, play or labels"
        )
    book = make([every[index] for index in answered])
    narrowed = [Frames(f.dataset, f.rows, f.episodes, f.labels[:, answered]) for f in chosen]
    return book, narrowed


def _answered_both_ways(book: QuestionBook, chosen: Sequence[Frames], least: int) -> list[int]:
    """The questions to which at least so many episodes say yes somewhere, and as many no."""
    counts = np.zeros((2, len(book.questions)), np.int64)
    for frames in chosen:
        for answer in (0, 1):
            counts[answer] += [len(np.unique(frames.episodes[column == answer])) for column in frames.labels.T]
    return [int(q) for q in np.flatnonzero((counts >= least).all(axis=0))]


def facts_of(
    run: RewardRun, book: QuestionBook, data: LabelledMaps, trained: TrainedHeads, seconds: dict[str, float]
) -> dict[str, Any]:
    """Rows of the model card, and the quality on episodes that the answering head had not seen."""
    calibration, own = trained.calibration, data.episodes != ALWAYS
    p, labels = calibration.probability(trained.held_out[own, 0]), data.labels[own]
    each = {text: quality(p[:, q], labels[:, q], calibration.threshold).to_dict() for q, text in enumerate(book.texts)}
    pooled = quality(p.ravel(), labels.ravel(), calibration.threshold)
    return {
        "data": ", ".join(str(root) for root in run.dataset),
        "frames": int(own.sum()),
        "episodes": len(np.unique(data.episodes[own])),
        "pictures answered by themselves": int((~own).sum()),
        "labels from": ", ".join(run.labels),
        "answers known": f"{(data.labels >= 0).mean():.0%}",
        "wanted false positives": f"{run.training.false_positive_rate:.1%}",
        "calibration error, held out": f"{pooled.calibration_error:.3f}",
        "CPU seconds": f"{seconds['features']:.0f} features, {seconds['heads']:.0f} heads",
        "seed": run.training.seed,
        "folds": folds_key(data, run.training),
        "quality": {**each, "all": pooled.to_dict()},
    }


def known_questions(path: Path | None) -> tuple[Question, ...]:
    """The questions of a file, or those of the playroom. Raises `QuestionError`."""
    return load_questions(path or paths.config("questions", "playroom.yaml"))
