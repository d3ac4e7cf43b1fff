"""From a local Minari dataset of any Gymnasium environment to a replay buffer (needs the `convert` extra)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np

from robot_learning.data.minari_export import MissingExtraError
from robot_learning.data.observations import ReplayError
from robot_learning.data.replay import ReplayBuffer

SUCCESS_INFOS = ("is_success", "success")


def open_minari(dataset: Any) -> Any:
    """The Minari dataset of this id on this machine; a MinariDataset comes back as it is. Nothing is downloaded.

    Raises:
        MissingExtraError: minari is not installed. ReplayError: there is no such dataset here.
    """
    if not isinstance(dataset, str):
        return dataset
    try:
        import minari
    except ImportError as error:
        raise MissingExtraError(
            f"reading needs minari ({error}); install it with: pip install 'robot_learning[convert]'"
        ) from error
    try:
        return minari.load_dataset(dataset)
    except (FileNotFoundError, ValueError) as error:
        raise ReplayError(
            f"Minari dataset {dataset!r} is not on this machine ({error}); here are {sorted(minari.list_local_datasets())}. "
            f"Fetch one with: minari download {dataset}"
        ) from error


def buffer_from_minari(dataset: Any, source: str = "offline", **options: Any) -> ReplayBuffer:
    """A new buffer with the spaces of a Minari dataset (or its id), filled with its episodes; `options` go to `ReplayBuffer`."""
    opened = open_minari(dataset)
    _action_bounds(opened.action_space)
    buffer = ReplayBuffer(opened.observation_space, opened.action_space, **options)
    add_minari(buffer, source, opened)
    return buffer


def add_minari(buffer: ReplayBuffer, source: str, dataset: Any, task: str = "") -> int:
    """Add the episodes of a Minari dataset (or its id) to `source`, which grows to hold them; returns how many there were.

    Actions are scaled from the bounds of the action space to [-1, 1], as Stable-Baselines3 scales them. What Minari calls
    terminated is a terminal here, everything else ends as truncated; a recording that goes on after either is split there. An
    episode is a success if the infos `is_success` or `success` were ever true.

    Raises:
        MissingExtraError: minari is not installed. ReplayError: spaces other than Box or Dict of Boxes, or unlike the buffer's.
    """
    opened = open_minari(dataset)
    low, high = _action_bounds(opened.action_space)
    # Enough even if every step were an episode of two frames; room that stays unused takes no memory.
    buffer.reserve(source, 2 * int(opened.total_steps))
    added = 0
    for episode in opened.iterate_episodes():
        actions = _scaled(np.asarray(episode.actions, np.float64), low, high)
        for start, end in _stretches(episode.terminations, episode.truncations):
            try:
                buffer.add_episode(
                    source,
                    _observed(episode.observations, start, end + 1),
                    actions[start:end],
                    episode.rewards[start:end],
                    terminated=bool(episode.terminations[end - 1]),
                    success=_success(episode.infos, len(actions), start, end),
                    task=task,
                )
            except ReplayError as error:
                raise ReplayError(f"Minari episode {episode.id}: {error}") from error
            added += 1
    return added


def _stretches(terminations: np.ndarray, truncations: np.ndarray) -> Sequence[tuple[int, int]]:
    """Steps `start` to `end` of each episode within a recording; one, unless the recording goes on after an end."""
    ends = np.flatnonzero(np.logical_or(terminations, truncations)) + 1
    if not len(ends) or ends[-1] != len(terminations):
        ends = np.append(ends, len(terminations))
    return list(zip([0, *ends[:-1].tolist()], ends.tolist(), strict=True)) if len(terminations) else []


def _observed(observations: Any, start: int, end: int) -> Any:
    if isinstance(observations, Mapping):
        return {key: _observed(values, start, end) for key, values in observations.items()}
    return np.asarray(observations[start:end])


def _success(infos: Mapping[str, Any] | None, steps: int, start: int, end: int) -> bool:
    for key in SUCCESS_INFOS:
        if infos and key in infos:
            flags = np.asarray(infos[key], bool)
            # Infos have one entry more than steps where that of the reset is kept.
            return bool(flags[len(flags) - steps :][start:end].any())
    return False


def _action_bounds(space: Any) -> tuple[np.ndarray, np.ndarray]:
    if not isinstance(space, gymnasium.spaces.Box) or len(space.shape) != 1:
        raise ReplayError(f"action space: expected a Box of shape (A,), found {space}")
    if not (np.isfinite(space.low).all() and np.isfinite(space.high).all()):
        raise ReplayError(f"action space: expected finite bounds to scale by, found {space}")
    return space.low.astype(np.float64), space.high.astype(np.float64)


def _scaled(actions: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    # Recorded noise may leave the bounds, where environments clip; what was done is the bound.
    return (2.0 * (np.clip(actions, low, high) - low) / (high - low) - 1.0).astype(np.float32)
