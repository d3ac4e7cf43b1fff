"""From datasets to what the heads of a reward model learn from: feature maps, each computed once, and labels."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from robot_learning.contract import IMAGE_PREFIX
from robot_learning.data import Dataset
from robot_learning.data.view import find_camera
from robot_learning.rewards import AugmentationConfig, EmbeddedConfig, LabelError, LabelledMaps, QuestionBook
from robot_learning.rewards.augmentation import moved, recoloured
from robot_learning.rewards.embedded import FeatureExtractor
from robot_learning.rewards.training import ALWAYS
from robot_learning.training.reward_labels import SOURCES, label_matrix
from robot_learning.training.uncertain import AnsweredPictures

CHUNK = 8  # frames between two reports
Report = Callable[[int, str], None]


@dataclass(frozen=True)
class Frames:
    """Some frames of one dataset: their numbers `(N,)`, episodes `(N,)` and labels `(N, Q)`."""

    dataset: Dataset
    rows: np.ndarray
    episodes: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class AnsweredFrames:
    """Pictures that a person answered by themselves, as `Frames`: of no episode, -1."""

    dataset: AnsweredPictures
    rows: np.ndarray
    episodes: np.ndarray
    labels: np.ndarray


def answered_frames(roots: Sequence[Path], book: QuestionBook) -> list[AnsweredFrames]:
    """The answered pictures of folders of the reward node; folders without an answer are left out.

    Raises:
        LabelError: there is no such folder.
    """
    found = [AnsweredPictures(root, book) for root in roots]
    return [
        AnsweredFrames(kept, np.arange(kept.num_frames), np.full(kept.num_frames, ALWAYS), kept.labels)
        for kept in found
        if kept.num_frames
    ]


def choose_frames(
    roots: Sequence[Path],
    book: QuestionBook,
    stride: int = 1,
    limit: int = 6000,
    sources: Sequence[str] = SOURCES,
    tolerance: float = 0.0,
    margin: float = 0.0,
) -> list[Frames]:
    """The labelled frames of datasets, every `stride`-th, thinned out evenly to at most `limit` in all.

    Each dataset has the same share of the limit, and what a small one does not need goes to the others: hours of play elsewhere
    do not crowd out the few minutes recorded at the robot's own desk.

    `sources`, `tolerance` [m] and `margin` [m] as in `label_matrix`.

    Raises:
        LabelError: none is labelled, or the stride or the limit is below 1. DatasetError: there is no dataset.
    """
    if min(stride, limit) < 1:
        raise LabelError(f"--stride and --frames: expected 1 or more, found {stride} and {limit}")
    chosen = []
    for root in roots:
        dataset = Dataset(root)
        labels = label_matrix(dataset, book, sources, tolerance, margin)
        rows = np.flatnonzero((labels >= 0).any(axis=1))[::stride]
        if len(rows):
            chosen.append(Frames(dataset, rows, dataset.episode_of(rows), labels[rows]))
    total = sum(len(frames.rows) for frames in chosen)
    if not total:
        raise LabelError(
            f"labels: expected frames that answer one of {list(book.texts)}, found none in {[str(r) for r in roots]}. "
            "Label them: robot-learning reward label"
        )
    if total <= limit:
        return chosen
    shares = equal_shares([len(frames.rows) for frames in chosen], limit)
    kept = [
        np.unique(np.linspace(0, len(f.rows) - 1, share).astype(int)) for f, share in zip(chosen, shares, strict=True)
    ]
    return [Frames(f.dataset, f.rows[k], f.episodes[k], f.labels[k]) for f, k in zip(chosen, kept, strict=True)]


def equal_shares(sizes: Sequence[int], limit: int) -> list[int]:
    """How much of `limit` each has: equal parts, but none more than its size, and at least one of what is there."""
    shares, left = [0] * len(sizes), limit
    for done, k in enumerate(np.argsort(sizes, kind="stable")):
        shares[k] = min(sizes[k], max(1, left // (len(sizes) - done)))
        left -= shares[k]
    return shares


def make_maps(
    chosen: Sequence[Frames | AnsweredFrames],
    config: EmbeddedConfig,
    augmentation: AugmentationConfig,
    seed: int = 0,
    cache: Path | None = None,
    report: Report = lambda done, words: None,
) -> LabelledMaps:
    """Feature maps of the frames, and of `2 * copies` changed copies of each; with `cache`, kept in files there.

    Raises:
        DatasetError: a dataset lacks a camera. MissingWeightsError: the image encoder's package is not installed.
    """
    extractor = FeatureExtractor(config)
    parts, episodes, done, first = [], [], 0, 0
    for frames in chosen:
        file = cache / f"{_key(frames, config, augmentation, seed)}.npy" if cache else None
        if file is not None and file.is_file():
            maps = np.load(file, mmap_mode="r")
        else:
            maps = _maps(frames, extractor, config, augmentation, seed, lambda n, d=done: report(d + n, "features"))  # type: ignore[misc]
            if file is not None:
                _keep(file, maps)
        done += len(frames.rows)
        report(done, "features")
        parts.append(maps)
        episodes.append(np.where(frames.episodes == ALWAYS, ALWAYS, frames.episodes + first))
        first += frames.dataset.num_episodes
    labels = np.concatenate([frames.labels for frames in chosen])
    return LabelledMaps(parts[0] if len(parts) == 1 else np.concatenate(parts), labels, np.concatenate(episodes))


def pictures(frames: Frames | AnsweredFrames, cameras: Sequence[str], rows: slice | np.ndarray) -> list[np.ndarray]:
    """The pictures `(n, H, W, 3)` of some of the frames, for each camera. Raises `DatasetError`, `LabelError`."""
    if isinstance(frames, AnsweredFrames):
        return [frames.dataset.images(camera, frames.rows[rows]) for camera in cameras]
    keys = [find_camera(frames.dataset, IMAGE_PREFIX + camera) for camera in cameras]
    return [frames.dataset.images(key, frames.rows[rows]) for key in keys]


def _maps(
    frames: Frames | AnsweredFrames,
    extractor: FeatureExtractor,
    config: EmbeddedConfig,
    augmentation: AugmentationConfig,
    seed: int,
    report: Callable[[int], None],
) -> np.ndarray:
    blocks = []
    for start in range(0, len(frames.rows), CHUNK):
        images = [extractor.resize(batch) for batch in pictures(frames, config.cameras, slice(start, start + CHUNK))]
        numbers = frames.rows[start : start + CHUNK]
        variants = [images]
        for copy in range(augmentation.copies):
            for kind in (recoloured, moved):
                changed: list[np.ndarray] = []
                for camera, batch in zip(config.cameras, images, strict=True):
                    change = recoloured if camera in augmentation.moving_cameras else kind
                    # each copy is drawn from its own seed, so that it does not depend on the frames beside it
                    rngs = [np.random.default_rng((seed, copy, kind is moved, int(n), len(changed))) for n in numbers]
                    changed.append(np.stack([change(i, r, augmentation) for i, r in zip(batch, rngs, strict=True)]))
                variants.append(changed)
        maps = [extractor(variant).numpy().astype(np.float16) for variant in variants]
        blocks.append(np.stack(maps, axis=1))
        report(min(start + CHUNK, len(frames.rows)))
    return np.concatenate(blocks)


def _key(frames: Frames | AnsweredFrames, config: EmbeddedConfig, augmentation: AugmentationConfig, seed: int) -> str:
    """A name that changes with whatever the maps depend on."""
    facts = {
        "dataset": str(frames.dataset.root.resolve()),
        "frames": hashlib.sha256(frames.rows.astype("<i8").tobytes()).hexdigest(),
        "first": hashlib.sha256(pictures(frames, config.cameras, slice(0, 1))[0].tobytes()).hexdigest(),
        "total": frames.dataset.num_frames,
        "names": [w.picture for w in frames.dataset.wanted] if isinstance(frames, AnsweredFrames) else [],
        "cameras": config.cameras,
        "size": config.image_size,
        "fine": config.fine,
        "augmentation": asdict(augmentation),
        "seed": seed,
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:24]


def _keep(file: Path, maps: np.ndarray) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".partial.npy")
    np.save(partial, maps)
    os.replace(partial, file)
