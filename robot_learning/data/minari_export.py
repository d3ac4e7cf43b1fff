"""Export to a Minari dataset (needs the `convert` extra).

Minari wants one observation more than actions; our last frame holds the last action, and no observation after it was
recorded. The last observation is therefore repeated. `terminations` are `next.done`; an episode that ends without it is
marked truncated at its last step.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterable
from typing import Any

import gymnasium
import numpy as np

from robot_learning.data.dataset import Dataset
from robot_learning.data.episode import Episode
from robot_learning.data.files import DatasetError
from robot_learning.errors import UserError

Track = Callable[[Iterable[Any]], Iterable[Any]]


class MissingExtraError(UserError, ImportError):
    """A package of the `convert` extra is not installed."""


def export_minari(dataset: Dataset, dataset_id: str, jpeg: bool = False, track: Track = lambda items: items) -> int:
    """Write every episode to the local Minari dataset `dataset_id` ("kitchen/drawer-v0"); returns the number of episodes.

    Args:
        jpeg: let Minari store images as (lossy) JPEG.

    Raises:
        MissingExtraError: minari is not installed.
        DatasetError: the dataset is empty, or `dataset_id` is taken or not an id.
    """
    try:
        import minari
        from minari.data_collector import EpisodeBuffer
    except ImportError as error:
        raise MissingExtraError(
            f"exporting needs minari ({error}); install it with: pip install 'robot_learning[convert]'"
        ) from error
    if not dataset.num_episodes:
        raise DatasetError(f"{dataset.root}: expected episodes to export, found none")
    if dataset_id in minari.list_local_datasets():
        raise DatasetError(
            f"the Minari dataset {dataset_id!r} exists; choose another id, or: minari delete {dataset_id}"
        )
    options = (
        {"jpeg_encoding": jpeg}
        if "jpeg_encoding" in inspect.signature(minari.create_dataset_from_buffers).parameters
        else {}
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning, module="minari")  # author, permalink: not ours to know
        _export(dataset, dataset_id, options, minari.create_dataset_from_buffers, EpisodeBuffer, track)
    return dataset.num_episodes


def _export(
    dataset: Dataset, dataset_id: str, options: dict[str, Any], create: Any, buffer_type: Any, track: Track
) -> None:
    target: Any = None
    for number in track(range(dataset.num_episodes)):
        episode = dataset.episode(number)
        buffer = buffer_type(id=number, **episode_arrays(episode))
        if target is None:
            try:
                target = create(
                    dataset_id,
                    [buffer],
                    observation_space=observation_space(dataset),
                    action_space=_box(dataset, "action", -1.0, 1.0),
                    description=f"{dataset.root.name}, exported from a LeRobot v3 dataset; tasks: {dataset.tasks}",
                    data_format="hdf5",
                    requirements=[],
                    **options,
                )
            except ValueError as error:
                raise DatasetError(
                    f"{dataset_id!r}: expected a Minari id such as 'kitchen/drawer-v0': {error}"
                ) from error
        else:
            target.update_dataset_from_buffer([buffer])
        metadata = {"task": episode.task, "success": episode.success}
        target.storage.update_episode_metadata([metadata], [number])


def episode_arrays(episode: Episode) -> dict[str, Any]:
    """An episode as Minari lays it out: observations and infos `(T + 1, ...)`, the rest `(T, ...)`."""
    frames, length = episode.frames, len(episode)
    observations = {k: np.concatenate([v, v[-1:]]) for k, v in frames.items() if k.startswith("observation.")}
    zeros = np.zeros(length)
    done = frames.get("next.done", zeros).reshape(-1).astype(bool)
    truncated = np.zeros(length, bool)
    truncated[-1] = not done[-1]
    success = frames.get("next.success", zeros).reshape(-1).astype(bool)
    return {
        "observations": observations,
        "actions": frames["action"],
        "rewards": frames.get("next.reward", zeros).reshape(-1),
        "terminations": done,
        "truncations": truncated,
        "infos": {"is_success": np.concatenate([[False], success])},
    }


def observation_space(dataset: Dataset) -> gymnasium.spaces.Dict:
    """The Gymnasium space of the dataset's observations."""
    spaces: dict[str, gymnasium.Space[Any]] = {}
    for key, feature in dataset.features.items():
        if key.startswith("observation."):
            image = feature.is_image
            spaces[key] = (
                gymnasium.spaces.Box(0, 255, feature.shape, np.uint8) if image else _box(dataset, key, -np.inf, np.inf)
            )
    return gymnasium.spaces.Dict(spaces)


def _box(dataset: Dataset, key: str, low: float, high: float) -> gymnasium.spaces.Box:
    return gymnasium.spaces.Box(low, high, dataset.features[key].shape, np.float32)
