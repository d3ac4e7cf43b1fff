"""Merging datasets of the same contract into a new one, without re-encoding."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from robot_learning.data.dataset import Dataset
from robot_learning.data.files import DatasetError, remove_on_error
from robot_learning.data.metadata import video_config
from robot_learning.data.schema import bookkeeping_features, contract_features
from robot_learning.data.writer import DatasetWriter

Track = Callable[[Iterable[Any]], Iterable[Any]]


def merge_datasets(sources: Sequence[Path], output: Path, track: Track = lambda items: items) -> int:
    """Copy every episode of `sources`, in order, to a new dataset at `output`; returns the number of episodes.

    Raises:
        DatasetError: fewer than one source, a source without contract, contracts or features that differ (both sides are
            named), `output` is taken, or an episode shares its video file with others.
        DatasetWriteError: the disk is full.
    """
    datasets = [Dataset(source) for source in sources]
    if not datasets:
        raise DatasetError("merge: expected at least one dataset, found none")
    first = datasets[0]
    contract = first.contract
    for dataset in datasets:
        if contract is None or dataset.contract is None:
            raise DatasetError(
                f"{dataset.root}: expected a dataset with a contract, found none (meta/robot_learning.json)"
            )
        lines = contract.differences(dataset.contract)
        if lines:
            listing = "\n  ".join(lines)
            raise DatasetError(
                f"{first.root} and {dataset.root} have different contracts, here and there:\n  {listing}"
            )
        if _columns(dataset) != _columns(first):
            raise DatasetError(f"{dataset.root}: expected the columns {_columns(first)}, found {_columns(dataset)}")
    assert contract is not None
    known = contract_features(contract) | bookkeeping_features()
    extra = {key: feature for key, feature in first.features.items() if key not in known}
    video = video_config(first.root, first.recording_info)
    config = {"merged_from": [str(source) for source in sources]}
    episodes = [(dataset, episode) for dataset in datasets for episode in range(dataset.num_episodes)]
    with (
        DatasetWriter.create(output, contract, video, first.info.get("robot_type"), extra, config) as writer,
        remove_on_error(output),
    ):
        for dataset, episode in track(episodes):
            writer.copy_episode(dataset, episode)
        return writer.num_episodes


def _columns(dataset: Dataset) -> dict[str, tuple[Any, ...]]:
    """What must agree between merged datasets: every feature's type and shape, and how its video is coded."""
    coding = ("video.codec", "video.pix_fmt")
    return {
        key: (feature.dtype, feature.shape, *(feature.info.get(name) for name in coding))
        for key, feature in dataset.features.items()
    }
