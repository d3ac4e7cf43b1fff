"""Demonstrations: the frames of a dataset, decoded once and held in memory, with the chunk of actions that follows each."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from robot_learning.contract import IMAGE_PREFIX, STATE, Contract
from robot_learning.control.retries import RetryPlan
from robot_learning.data import Dataset
from robot_learning.errors import UserError


class DemonstrationError(UserError, ValueError):
    """A dataset has not what cloning needs."""


@dataclass(frozen=True)
class Demonstrations:
    """N frames of whole episodes, one after the other.

    Attributes:
        contract: the streams chosen as inputs, and the action.
        images: `(N, H, W, 3)` uint8 per camera (55 kB a frame for two cameras of 96 x 96).
        vectors: `(N, n)` float32 per vector stream. actions: `(N, A)` float32 in [-1, 1].
        ends: `(N,)` index after the last frame of the episode of each frame.
        tasks: the instructions, sorted; task_of: `(N,)` which of them each frame shows.
        prior: so many frames, the first, are prior data, from elsewhere and of any task.
        practised: so many frames, the last, are what the policy did itself.
    """

    contract: Contract
    images: dict[str, np.ndarray]
    vectors: dict[str, np.ndarray]
    actions: np.ndarray
    ends: np.ndarray
    tasks: list[str]
    task_of: np.ndarray
    prior: int = 0
    practised: int = 0

    def __len__(self) -> int:
        return len(self.actions)

    @property
    def num_episodes(self) -> int:
        """How many episodes there are."""
        return len(np.unique(self.ends))

    def chunks(self, indices: np.ndarray, horizon: int) -> tuple[np.ndarray, np.ndarray]:
        """The actions `(B, T, A)` from each frame on, and `is_pad` `(B, T)` where the episode had ended (last repeated)."""
        steps = indices[:, None] + np.arange(horizon)
        last = self.ends[indices][:, None] - 1
        return self.actions[np.minimum(steps, last)], steps > last

    def split(self, held_out: int) -> tuple[np.ndarray, np.ndarray]:
        """Frame indices for training and for validation: of each task, the last `held_out` episodes are held out.

        Prior data is trained on, all of it.
        """
        validation, own = np.zeros(len(self), bool), np.arange(len(self)) >= self.prior
        for task in np.unique(self.task_of[own]):
            ends = np.unique(self.ends[own & (self.task_of == task)])
            if held_out >= len(ends):
                raise DemonstrationError(f"cannot hold out {held_out} of {len(ends)} episodes of {self.tasks[task]!r}")
            validation |= np.isin(self.ends, ends[len(ends) - held_out :])
        return np.flatnonzero(~validation), np.flatnonzero(validation)

    def retry_plan(self) -> RetryPlan | None:
        """How long attempts take and where they begin, by the data of this desk; None where the robot's state does not tell."""
        if STATE not in self.vectors:
            return None
        tasks = [self.tasks[index] for index in self.task_of[self.prior :]]
        return RetryPlan.of(
            self.contract, self.vectors[STATE][self.prior :], self.ends[self.prior :] - self.prior, tasks
        )

    def naming(self, tasks: Sequence[str]) -> Demonstrations:
        """The same, naming these tasks besides its own: those that another policy knows."""
        known = sorted({*self.tasks, *tasks})
        task_of = np.array([known.index(task) for task in self.tasks])[self.task_of]
        return dataclasses.replace(self, tasks=known, task_of=task_of)

    @property
    def beside(self) -> np.ndarray:
        """`(N,)` bool: prior data and, where there is any, what was practised. Together they have one part of each batch.

        The demonstrations, which are few, have the other: cloned in one part with them, 118 successes of practice crowded them
        out, and a clone of both was worse at evaluation than one of the demonstrations.
        """
        index = np.arange(len(self))
        return (index < self.prior) | ((index >= len(self) - self.practised) & bool(self.prior))

    @staticmethod
    def join(parts: Sequence[Demonstrations], practised: bool = False) -> Demonstrations:
        """Several sets of demonstrations with the same streams as one; prior data only comes with the first.

        Args:
            practised: all but the first are what the policy did itself.

        Raises:
            ContractError: the streams differ.
        """
        first = parts[0]
        if any(part.prior for part in parts[1:]):
            raise ValueError("prior data comes before all other, so only with the first part")
        for part in parts[1:]:
            first.contract.require(part.contract, "another set of demonstrations")
        known = sorted({task for part in parts for task in part.tasks})
        starts = np.cumsum([0, *(len(part) for part in parts)])
        return Demonstrations(
            contract=first.contract,
            images={key: np.concatenate([part.images[key] for part in parts]) for key in first.images},
            vectors={key: np.concatenate([part.vectors[key] for part in parts]) for key in first.vectors},
            actions=np.concatenate([part.actions for part in parts]),
            ends=np.concatenate([part.ends + start for part, start in zip(parts, starts, strict=False)]),
            tasks=known,
            task_of=np.concatenate([np.array([known.index(t) for t in p.tasks])[p.task_of] for p in parts]),
            prior=first.prior,
            practised=sum(len(part) for part in parts[1:]) if practised else 0,
        )

    @staticmethod
    def load(
        dataset: Dataset,
        inputs: Sequence[str],
        tasks: Sequence[str] = (),
        only_success: bool = True,
        episodes: Sequence[int] | None = None,
        without: str = "",
    ) -> Demonstrations:
        """Decode the episodes of `tasks` (all when empty) into memory.

        Args:
            inputs: keys of the streams the policy will read.
            only_success: leave out episodes that did not succeed.
            episodes: these episodes, whatever the other choices say.
            without: name of a flag; frames where it is true are left out, and episodes that have no others.

        Raises:
            ContractError: the dataset lacks an input. DemonstrationError: no episode is left, or an action is not finite.
        """
        chosen = _choose(dataset, tasks, only_success) if episodes is None else list(episodes)
        return _read([_whole_episodes(dataset, chosen, without)], inputs)


class Achieved(NamedTuple):
    """Frames `start` to `end` (not included) of a dataset, in which `task` was done in the end."""

    start: int
    end: int
    task: str


Judge = Callable[[Dataset], Sequence[Achieved]]
"""Says what was done in a dataset."""


def told_by_play(dataset: Dataset, linger: int = 5) -> list[Achieved]:
    """The attempts amid play that succeeded, by its own labels: from where each was begun to `linger` frames after success.

    Raises:
        DemonstrationError: it does not say what succeeded.
    """
    if dataset.contract is None or "next.success" not in dataset.features:
        raise DemonstrationError(
            f"{dataset.root} has no contract or no next.success, so its attempts cannot be told apart"
        )
    solved = dataset.column("next.success").reshape(-1).astype(bool)
    found = []
    for segment in dataset.segments:
        hits = np.flatnonzero(solved[segment.start : segment.end])
        if segment.success and hits.size:
            end = min(segment.start + int(hits[0]) + 1 + linger, int(dataset.episode_ranges[segment.episode, 1]))
            found.append(Achieved(segment.start, end, segment.task))
    return found


def cut_out(
    dataset: Dataset, inputs: Sequence[str], attempts: Sequence[Achieved], without: str = ""
) -> Demonstrations | None:
    """These attempts as demonstrations, None without any; frames where the flag `without` is true are left out.

    Raises:
        ContractError: the dataset lacks an input. DemonstrationError: it has no contract.
    """
    chosen = _attempts(dataset, attempts, without)
    return _read([chosen], inputs) if chosen.episodes else None


class _Chosen(NamedTuple):
    """What is taken from a dataset: the frames of each episode, and its task."""

    dataset: Dataset
    episodes: list[tuple[np.ndarray, str]]


def _attempts(dataset: Dataset, attempts: Sequence[Achieved], without: str = "") -> _Chosen:
    kept = [(rows, task) for start, end, task in attempts if (rows := _unflagged(dataset, start, end, without)).size]
    return _Chosen(dataset, kept)


def _whole_episodes(dataset: Dataset, chosen: Sequence[int], without: str = "") -> _Chosen:
    ranges = np.asarray(dataset.episode_ranges)[list(chosen)].tolist()
    parts = [_unflagged(dataset, start, stop, without) for start, stop in ranges]
    kept = [(rows, dataset.episode_tasks[e]) for rows, e in zip(parts, chosen, strict=True) if rows.size]
    if not kept:
        raise DemonstrationError(f"{dataset.root}: every frame of the episodes {chosen} is flagged as {without}")
    return _Chosen(dataset, kept)


def _unflagged(dataset: Dataset, start: int, end: int, flag: str) -> np.ndarray:
    """The frames from `start` to `end` but for those where the flag is true; all where there is no such flag."""
    rows = np.arange(start, end)
    return rows[~dataset.column(flag).reshape(-1)[rows].astype(bool)] if flag in dataset.features else rows


def load_play(
    dataset: Dataset, inputs: Sequence[str], tasks: Sequence[str], judge: Judge = told_by_play
) -> Demonstrations | None:
    """The attempts at `tasks` that succeeded amid play, as the `judge` says; None when there is none.

    Raises:
        ContractError: the dataset lacks an input. DemonstrationError: the judge cannot tell.
    """
    return cut_out(dataset, inputs, [done for done in judge(dataset) if done.task in tasks])


def with_play(
    data: Demonstrations, folders: Sequence[str], inputs: Sequence[str], judge: Judge = told_by_play
) -> Demonstrations:
    """Demonstrations with the attempts of `load_play` at the same tasks, from each of the folders, after them.

    Raises:
        DemonstrationError: no attempt at the tasks succeeded in any of the folders.
    """
    found = [part for folder in folders if (part := load_play(Dataset(folder), inputs, data.tasks, judge)) is not None]
    if folders and not found:
        raise DemonstrationError(
            f"no attempt at {data.tasks} succeeded in {', '.join(map(str, folders))}; record more play or leave --play out"
        )
    return Demonstrations.join([data, *found])


def with_prior(
    data: Demonstrations, folders: Sequence[str], inputs: Sequence[str], judge: Judge | None = None
) -> Demonstrations:
    """Demonstrations after the prior data in `folders`; see `load_prior`."""
    return _read(_all_that_succeeded(folders, judge), inputs, data) if folders else data


def load_prior(folders: Sequence[str], inputs: Sequence[str], judge: Judge | None = None) -> Demonstrations:
    """All that succeeded in `folders`, at any task, amid play or demonstrated, by their own labels or as the `judge` says.

    Raises:
        DemonstrationError: nothing succeeded in one of the folders. ContractError: it lacks an input, or its streams differ.
    """
    return _read(_all_that_succeeded(folders, judge), inputs)


def _all_that_succeeded(folders: Sequence[str], judge: Judge | None) -> list[_Chosen]:
    every = []
    for folder in folders:
        dataset = Dataset(folder)
        is_play = len(dataset.segments) > dataset.num_episodes  # one thing after another within an episode
        if judge is None and not is_play:
            chosen = _whole_episodes(dataset, _choose(dataset, (), True))
        else:
            chosen = _attempts(dataset, (judge or told_by_play)(dataset))
        if not chosen.episodes:
            raise DemonstrationError(
                f"{folder}: nothing that was tried in this play succeeded; leave it out of the prior data"
            )
        every.append(chosen)
    return every


def _read(every: Sequence[_Chosen], inputs: Sequence[str], own: Demonstrations | None = None) -> Demonstrations:
    """The chosen frames of datasets with the same streams, one after the other; before `own`, they are prior data.

    Each picture is in memory only once, but for those of one camera of one dataset.
    """
    contracts = [_contract(chosen.dataset, inputs) for chosen in every] + ([own.contract] if own else [])
    for contract in contracts[1:]:
        contracts[0].require(contract, "another set of demonstrations")
    rows = [np.concatenate([part for part, _ in chosen.episodes]) for chosen in every]
    read = sum(map(len, rows))
    total = read + (len(own) if own else 0)
    lengths = [len(part) for chosen in every for part, _ in chosen.episodes]
    names = np.repeat([task for chosen in every for _, task in chosen.episodes], lengths).tolist()
    ends = np.repeat(np.cumsum(lengths), lengths)
    if own:
        names += [own.tasks[index] for index in own.task_of]
        ends = np.concatenate([ends, own.ends + read])
    known = sorted(set(names))
    place = {name: index for index, name in enumerate(known)}
    pictures = [key for key in inputs if key.startswith(IMAGE_PREFIX)]
    streams = {key: _stream(every, rows, key, total) for key in [*inputs, "action"]}
    if own:
        for key, stream in streams.items():
            stream[read:] = own.actions if key == "action" else own.images.get(key, own.vectors.get(key))
    return Demonstrations(
        contract=contracts[0],
        images={key: streams.pop(key) for key in pictures},
        actions=streams.pop("action"),
        vectors=streams,
        ends=ends,
        tasks=known,
        task_of=np.array([place[name] for name in names]),
        prior=read if own else 0,
    )


def _contract(dataset: Dataset, inputs: Sequence[str]) -> Contract:
    if dataset.contract is None:
        raise DemonstrationError(f"{dataset.root} has no contract, so its robot is unknown; import it with one")
    return dataset.contract.select(list(inputs))


def _stream(every: Sequence[_Chosen], rows: Sequence[np.ndarray], key: str, total: int) -> np.ndarray:
    """One stream of the chosen frames, with room for `total` frames: pictures as they are, all else as float32."""
    stream: np.ndarray | None = None
    done = 0
    for (dataset, _), taken in zip(every, rows, strict=True):
        if key.startswith(IMAGE_PREFIX):
            found = dataset.images(key, taken)
        else:
            found = np.asarray(dataset.column(key))[taken].astype(np.float32)
            if not np.isfinite(found).all():
                raise DemonstrationError(
                    f"{key} has numbers that are not finite in {dataset.root}; find them with `robot-learning dataset check`"
                )
        if len(taken) == total:
            return found
        if stream is None:
            stream = np.empty((total, *found.shape[1:]), found.dtype)
        stream[done : done + len(taken)] = found
        done += len(taken)
    assert stream is not None
    return stream


def _choose(dataset: Dataset, tasks: Sequence[str], only_success: bool) -> list[int]:
    unknown = sorted(set(tasks) - set(dataset.episode_tasks))
    if unknown:
        raise DemonstrationError(f"the dataset has no task {unknown}; it has {sorted(set(dataset.episode_tasks))}")
    episodes = [
        e
        for e, (task, success) in enumerate(zip(dataset.episode_tasks, dataset.episode_success, strict=True))
        if (not tasks or task in tasks) and (success or not only_success)
    ]
    if not episodes:
        raise DemonstrationError(
            f"no episode to learn from: {dataset.num_episodes} episodes, {int(np.sum(dataset.episode_success))} succeeded"
            + ("; pass --no-only-success to learn from failures too" if only_success else "")
        )
    return episodes
