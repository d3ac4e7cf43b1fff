"""From our datasets to transitions: demonstrations as episodes, and play relabelled for the tasks that are to be learned.

A recording of T frames has T observations and T actions, and nothing after the last action. Success is the only thing in it that
ends an episode for good: `next.done` also marks time limits, and recordings go on for some ticks after success. So an attempt is
cut at its first success, as a terminal; one that never gets there loses its last action and counts as truncated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import gymnasium
import numpy as np

from robot_learning.contract import Contract
from robot_learning.data.dataset import Dataset
from robot_learning.data.episode import Segment
from robot_learning.data.observations import ReplayError
from robot_learning.data.replay import ReplayBuffer
from robot_learning.data.replay_source import Labels
from robot_learning.data.schema import ACTION, REWARD, SUCCESS

SuccessFunction = Callable[[Mapping[str, np.ndarray]], np.ndarray]
"""Frames of a recording by key, `(T, ...)` each, to `(T,)` bool: whether the task is done in each observation."""


class Frames(Mapping[str, np.ndarray]):
    """Frames `start` to `end` of a dataset by feature key, read when asked for."""

    def __init__(self, dataset: Dataset, start: int, end: int) -> None:
        self._dataset, self._rows = dataset, np.arange(start, end)

    def __getitem__(self, key: str) -> np.ndarray:
        if key not in self._dataset.features:
            raise KeyError(key)
        if self._dataset.features[key].is_image:
            return self._dataset.images(key, self._rows)
        return self._dataset.column(key)[self._rows]

    def __iter__(self) -> Iterator[str]:
        return iter(self._dataset.features)

    def __len__(self) -> int:
        return len(self._dataset.features)


def dataset_space(dataset: Dataset, keys: Sequence[str]) -> gymnasium.spaces.Dict:
    """The observation space of these features of a dataset, for `ReplayBuffer`.

    Raises:
        ReplayError: the dataset has no such feature.
    """
    _require(dataset, keys)
    spaces: dict[str, gymnasium.Space[np.ndarray]] = {}
    for key in keys:
        feature = dataset.features[key]
        if feature.is_image:
            spaces[key] = gymnasium.spaces.Box(0, 255, feature.shape, np.uint8)
        else:
            spaces[key] = gymnasium.spaces.Box(-np.inf, np.inf, feature.shape, np.float32)
    return gymnasium.spaces.Dict(spaces)


def add_dataset(
    buffer: ReplayBuffer,
    source: str,
    dataset: Dataset,
    tasks: Sequence[str] = (),
    only_success: bool = False,
    contract: Contract | None = None,
) -> int:
    """Add every attempt of a dataset to `source`: an episode of a demonstration, a stretch of one task in play.

    Makes room for them in the ring. Rewards are those recorded; the keys are those of the buffer's observations.

    Args:
        tasks: only attempts at these instructions; all when empty.
        only_success: leave failures out. They are what a critic learns from, so they stay in by default.
        contract: the robot's; what the buffer observes must be the same in the dataset.

    Returns:
        how many attempts were added.

    Raises:
        ReplayError: a feature is missing or does not fit the buffer, a number is not finite, a task is unknown, or no attempt is
            left. ContractError: the contracts differ.
    """
    _check(buffer, dataset, [ACTION, REWARD, SUCCESS], contract)
    unknown = sorted(set(tasks) - set(dataset.tasks))
    if unknown:
        raise ReplayError(f"{dataset.root} has no task {unknown}; it has {sorted(dataset.tasks)}")
    solved = dataset.column(SUCCESS).reshape(-1).astype(bool)
    attempts = []
    for segment in dataset.segments:
        steps, success = _attempt(segment, solved, dataset.episode_ranges)
        if steps and (success or not only_success) and (not tasks or segment.task in tasks):
            attempts.append((segment, steps, success))
    if not attempts:
        raise ReplayError(
            f"{dataset.root}: no attempt to learn from among {len(dataset.segments)}"
            + (" (only those that succeed were asked for)" if only_success else "")
        )
    buffer.reserve(source, sum(steps + 1 for _, steps, _ in attempts))
    for segment, steps, success in attempts:
        start, end = segment.start, segment.start + steps
        observed = _observed(buffer, dataset, start, end, bool(dataset.episode_ranges[segment.episode, 1] > end))
        actions, rewards = dataset.column(ACTION)[start:end], dataset.column(REWARD)[start:end].reshape(-1)
        with _telling(dataset, segment.episode):
            buffer.add_episode(source, observed, actions, rewards, success, success, segment.task)
    return len(attempts)


def add_relabelled(
    buffer: ReplayBuffer,
    source: str,
    dataset: Dataset,
    success: Mapping[str, SuccessFunction],
    contract: Contract | None = None,
) -> dict[str, int]:
    """Add recordings as experience of every task in `success`, whatever was tried in them; each frame is stored once.

    For each task, a recording falls into attempts: from where the task is not done to where it is (reward 1, terminal). While it
    is done there is nothing to learn; when it is undone, the next attempt begins. What is left at the end is truncated with
    reward 0. Opening a drawer by accident while sweeping a block is so a success at "open the drawer", and the many frames
    in which nothing of the kind happens are what a critic needs to know the worth of doing nothing.

    Args:
        success: by instruction, a function that tells in which observations the task is done.

    Returns:
        by instruction, how many attempts succeeded.

    Raises:
        ReplayError: as `add_dataset`, or a function returns something else than `(T,)` bool.
    """
    _check(buffer, dataset, [ACTION], contract)
    recordings = [(int(a), int(b)) for a, b in dataset.episode_ranges if b - a >= 2]
    if not recordings or not success:
        raise ReplayError(
            f"{dataset.root}: expected recordings of 2 frames or more and at least one task to relabel for"
        )
    numbers = np.array([buffer.task_number(task) for task in success], np.int32)
    buffer.reserve(source, sum(b - a for a, b in recordings), labels=len(success))
    found = np.zeros(len(success), int)
    for episode, (start, end) in enumerate(recordings):
        frames = Frames(dataset, start, end)
        done = np.stack([_done(task, tell, frames, end - start) for task, tell in success.items()], axis=1)
        labels = labels_of(done, numbers)
        with _telling(dataset, episode):
            observed = _observed(buffer, dataset, start, end - 1, True)
            buffer.add_labelled(source, observed, dataset.column(ACTION)[start : end - 1], labels)
        found += labels.terminated.sum(axis=0)
    return dict(zip(success, found.tolist(), strict=True))


def labels_of(done: np.ndarray, tasks: np.ndarray) -> Labels:
    """Labels of T transitions between T + 1 frames of which `done` `(T + 1, L)` says whether each of L tasks is done."""
    valid = ~done[:-1]
    terminated = valid & done[1:]
    ahead = np.logical_or.accumulate(terminated[::-1], axis=0)[::-1]
    return Labels(
        reward=terminated.astype(np.float32), terminated=terminated, success=ahead & valid, valid=valid, task=tasks
    )


def _attempt(segment: Segment, solved: np.ndarray, ranges: np.ndarray) -> tuple[int, bool]:
    """How many transitions an attempt has, and whether it succeeds."""
    hits = np.flatnonzero(solved[segment.start : segment.end])
    if hits.size:
        return int(hits[0]) + 1, True
    # The observation after the last action of a recording is not known.
    return min(segment.end, int(ranges[segment.episode, 1]) - 1) - segment.start, False


def _observed(buffer: ReplayBuffer, dataset: Dataset, start: int, end: int, after: bool) -> dict[str, np.ndarray]:
    """Observations `start` to `end` inclusive; where there is none `after` (success at the very end) the last one is repeated.

    Nothing is learned from the value of an observation after a terminal, so the copy does no harm.
    """
    frames = Frames(dataset, start, end + after)
    values = {key: frames[key] for key in buffer.observations.keys}
    return values if after else {key: np.concatenate([v, v[-1:]]) for key, v in values.items()}


def _done(task: str, tell: SuccessFunction, frames: Frames, length: int) -> np.ndarray:
    try:
        done = np.asarray(tell(frames))
    except KeyError as error:
        raise ReplayError(f"success of {task!r} asks for {error}; the dataset has {list(frames)}") from error
    if done.shape != (length,) or done.dtype != bool:
        raise ReplayError(f"success of {task!r}: expected ({length},) bool, found {done.shape} {done.dtype}")
    return done


def _check(buffer: ReplayBuffer, dataset: Dataset, keys: Sequence[str], contract: Contract | None) -> None:
    observed = list(buffer.observations.keys)
    _require(dataset, [*observed, *keys])
    for key, stored in buffer.observations.keys.items():
        if dataset.features[key].shape != stored.shape:
            raise ReplayError(
                f"{key}: the buffer expects shape {stored.shape}, found {dataset.features[key].shape} in {dataset.root}"
            )
    if contract is not None:
        if dataset.contract is None:
            raise ReplayError(f"{dataset.root} has no contract, so its robot is unknown; import it with one")
        shared = [key for key in observed if key in dataset.contract.observation]
        contract.require(dataset.contract.select(shared), f"the dataset {dataset.root}")


def _require(dataset: Dataset, keys: Sequence[str]) -> None:
    missing = [key for key in keys if key not in dataset.features]
    if missing:
        raise ReplayError(f"{dataset.root} has no feature {missing}; it has {list(dataset.features)}")


@contextmanager
def _telling(dataset: Dataset, episode: int) -> Iterator[None]:
    """Says in which episode of a dataset something does not fit."""
    try:
        yield
    except ReplayError as error:
        raise ReplayError(f"{dataset.root}, episode {episode}: {error}") from error
