"""ReplayBuffer: demonstrations, play and the robot's own experience side by side, sampled at a set ratio (docs/replay.md)."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from robot_learning.data.observations import FeatureEncoder, Observations, ReplayError
from robot_learning.data.replay_batch import Transitions, gather
from robot_learning.data.replay_files import FORMAT, STALE, Folder, load_sources, new_folder, open_folder
from robot_learning.data.replay_source import Labels, Source, Step
from robot_learning.data.replay_statistics import SourceStatistics, source_statistics
from robot_learning.data.returns import ReturnRules

__all__ = ["ReplayBuffer", "ReplayError", "Transitions"]

log = logging.getLogger(__name__)
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
ROUNDING = 1e-5  # an action may be this far outside [-1, 1]; it is clipped


class ReplayBuffer:
    """Named sources of transitions, each a ring that overwrites its oldest frames. Not for several threads at once.

    Args:
        observation_space: a Gymnasium Box (stored under the key "observation") or Dict of Boxes.
        action_space: a Box of shape `(A,)`; only its size counts, actions are stored scaled to [-1, 1].
        capacity: frames of a source: one number for every source, or numbers by name (then other names are refused).
        gamma, reward_scale, reward_bias, lowest_reward: see `ReturnRules`.
        n_step: up to how many steps a sampled transition spans.
        encoders: frozen networks by picture key; the features are stored in the place of the picture.
        tasks: instructions to number beforehand; others are appended as they come.

    Raises:
        ReplayError: a space, capacity, rule or name that cannot be used.
    """

    def __init__(
        self,
        observation_space: gymnasium.Space[Any],
        action_space: gymnasium.spaces.Box,
        capacity: int | Mapping[str, int] = 1_000_000,
        gamma: float = 0.99,
        n_step: int = 1,
        reward_scale: float = 1.0,
        reward_bias: float = 0.0,
        lowest_reward: float | None = None,
        encoders: Mapping[str, FeatureEncoder] | None = None,
        tasks: Sequence[str] = (),
    ) -> None:
        if not isinstance(action_space, gymnasium.spaces.Box) or len(action_space.shape) != 1:
            raise ReplayError(f"action space: expected a Box of shape (A,), found {action_space}")
        if n_step < 1:
            raise ReplayError(f"n_step: expected at least 1, found {n_step}")
        self.observations = Observations(observation_space, encoders)
        self.action_size = int(action_space.shape[0])
        self.rules = ReturnRules(gamma, reward_scale, reward_bias, lowest_reward)
        self.n_step = n_step
        self.tasks: list[str] = list(tasks)
        self._task_numbers = {task: number for number, task in enumerate(self.tasks)}
        self._sources: dict[str, Source] = {}
        self._capacity = capacity
        self._said: set[str] = set()
        self._folder: Folder | None = None
        if isinstance(capacity, Mapping):
            for name, frames in capacity.items():
                self.add_source(name, frames)

    # ---- what is in it

    @property
    def sources(self) -> list[str]:
        """Names of the sources, in the order `Transitions.source` counts them."""
        return list(self._sources)

    def __len__(self) -> int:
        """Transitions that can be sampled, over all sources."""
        return sum(source.transitions for source in self._sources.values())

    def size(self, source: str) -> int:
        """Transitions of a source that can be sampled, 0 for one that does not exist."""
        return self._sources[source].transitions if source in self._sources else 0

    def source(self, name: str) -> Source:
        """The ring of a source.

        Raises:
            ReplayError: lists the names there are.
        """
        if name not in self._sources:
            raise ReplayError(f"source {name!r}: expected one of {self.sources}")
        return self._sources[name]

    def statistics(self) -> dict[str, SourceStatistics]:
        """Frames, episodes, successes, mean return and ranges by source."""
        return {name: source_statistics(source) for name, source in self._sources.items()}

    def task_number(self, task: str) -> int:
        """The index of an instruction in `tasks`, appended when it is new."""
        if task not in self._task_numbers:
            self._task_numbers[task] = len(self.tasks)
            self.tasks.append(task)
        return self._task_numbers[task]

    # ---- adding

    def add_source(self, name: str, capacity: int | None = None, labels: int = 1) -> Source:
        """A new source with room for `capacity` frames (default: the buffer's) with `labels` tasks each.

        Raises:
            ReplayError: the name is taken or cannot be part of a file name, or no capacity is known.
        """
        if name in self._sources or not NAME.fullmatch(name):
            raise ReplayError(f"source {name!r}: expected a new name of letters, digits, '_', '-' and '.'")
        if capacity is None:
            if isinstance(self._capacity, Mapping):
                raise ReplayError(f"source {name!r}: expected one of {list(self._capacity)}, which have a capacity")
            capacity = self._capacity
        self._sources[name] = Source(name, capacity, labels, self.observations, self.action_size)
        return self._sources[name]

    def reserve(self, name: str, frames: int, labels: int = 1) -> None:
        """Make room for `frames` more frames in a source, which becomes as large as its content when it is new.

        Raises:
            ReplayError: the source has another number of labels, or its ring has begun to overwrite frames.
        """
        if name not in self._sources:
            self.add_source(name, max(frames, 2), labels)
            return
        source = self._sources[name]
        if source.labels != labels:
            raise ReplayError(f"source {name!r}: expected {source.labels} labels a frame, found {labels}")
        if source.written + frames > source.capacity:
            source.grow(source.written + frames)

    def add_step(
        self,
        source: str,
        stream: int,
        observation: Any,
        action: np.ndarray,
        reward: float,
        next_observation: Any,
        terminated: bool,
        truncated: bool,
        success: bool = False,
        task: str = "",
    ) -> None:
        """One step of environment `stream`; at the end of an episode `next_observation` is its last one, not the next reset's.

        A step that does not start where the one before ended, or has another task, cuts the running episode as truncated.

        Raises:
            ReplayError: a key, shape, type or number is wrong; nothing is added then.
        """
        if not np.isfinite(reward):
            raise ReplayError(f"reward: expected a finite number, found {reward}")
        checked = Step(
            self.observations.check(observation),
            self._check_actions(action, None),
            float(reward),
            self.observations.check(next_observation),
            bool(terminated),
            bool(truncated),
            bool(success),
            self.task_number(task),
        )
        if self._source(source).add_step(stream, checked, self.rules):
            self._say_once(
                f"{source} cut",
                f"source {source!r}, stream {stream}: a step did not continue the running episode, which ends there as "
                f"truncated (after loading, a reset without terminated or truncated, or another task)",
            )

    def add_episode(
        self,
        source: str,
        observations: Any,
        actions: np.ndarray,
        rewards: np.ndarray,
        terminated: bool,
        success: bool = False,
        task: str = "",
    ) -> None:
        """A finished episode: observations `(T + 1, ...)` (by key), actions `(T, A)` in [-1, 1], rewards `(T,)`.

        Without `terminated` it was truncated: values go on from its last observation.

        Raises:
            ReplayError: a key, shape, type or number is wrong, or the episode is longer than the ring; nothing is added then.
        """
        length = len(actions)
        labels = Labels(
            reward=np.asarray(rewards, np.float32).reshape(-1, 1),
            terminated=(np.arange(length) == length - 1)[:, None] & terminated,
            success=np.full((length, 1), success),
            valid=np.ones((length, 1), bool),
            task=np.array([self.task_number(task)], np.int32),
        )
        self.add_labelled(source, observations, actions, labels)

    def add_labelled(self, source: str, observations: Any, actions: np.ndarray, labels: Labels) -> None:
        """A recording with labels for several tasks, its frames stored once; as `add_episode` otherwise."""
        length, count = len(actions), labels.reward.shape[1]
        columns = self._sources[source].labels if source in self._sources else count
        if length < 1 or labels.reward.shape != (length, columns):
            raise ReplayError(
                f"source {source!r}: expected at least one action, and rewards {(length, columns)}, "
                f"found {labels.reward.shape}"
            )
        if not np.isfinite(labels.reward).all():
            raise ReplayError(
                f"rewards: expected finite numbers, found {int((~np.isfinite(labels.reward)).sum())} others"
            )
        checked = self.observations.check(observations, length + 1)
        checked_actions = self._check_actions(actions, length)
        kept = self.observations.encode(checked, batched=True)
        self._source(source, columns).add_episode(kept, checked_actions, labels, self.rules)

    def cut(self, source: str, stream: int | None = None) -> None:
        """End the running episode of a stream (of all streams) as truncated: the run stops or the robot was taken away."""
        target = self.source(source)
        for each in list(target.running) if stream is None else [stream]:
            target.cut(each, self.rules)

    def set_rules(self, **changes: Any) -> None:
        """Change `gamma`, `reward_scale`, `reward_bias` or `lowest_reward`; every return is computed anew."""
        rules = replace(self.rules, **changes)
        if rules != self.rules:
            self.rules = rules
            for source in self._sources.values():
                source.recompute(rules)

    # ---- sampling

    def sample(
        self, batch_size: int, mixture: Mapping[str, float] | None = None, rng: np.random.Generator | None = None
    ) -> Transitions:
        """A batch, uniform over the transitions within each source; the same `rng` on the same content gives the same batch.

        Args:
            mixture: weights by source; `None` weighs sources by their transitions. The share of a source that is still empty
                goes to the others, in proportion. A share that is no whole number of rows is met on average.

        Raises:
            ReplayError: there is nothing to sample, or the mixture has an unknown name or weights that cannot be used.
        """
        if batch_size < 1:
            raise ReplayError(f"batch_size: expected at least 1, found {batch_size}")
        rng = np.random.default_rng() if rng is None else rng
        counts = self._split(batch_size, self._weights(mixture), rng)
        picked = [
            (number, source, source.pick(counts[source.name], self.n_step, self.rules, rng))
            for number, source in enumerate(self._sources.values())
            if counts.get(source.name)
        ]
        return gather(self.observations, picked)

    def _weights(self, mixture: Mapping[str, float] | None) -> dict[str, float]:
        sizes = {name: source.transitions for name, source in self._sources.items()}
        weights = dict(sizes) if mixture is None else dict(mixture)
        known = sizes.keys() | (self._capacity.keys() if isinstance(self._capacity, Mapping) else weights.keys())
        if not weights.keys() <= known or any(not (np.isfinite(w) and w >= 0) for w in weights.values()):
            raise ReplayError(
                f"mixture: expected finite weights of at least 0 for sources among {sorted(known)}, found {mixture}"
            )
        wanted = {name: weight for name, weight in weights.items() if weight > 0}
        there = {name: float(weight) for name, weight in wanted.items() if sizes.get(name)}
        if not there:
            raise ReplayError(f"nothing to sample: transitions by source {sizes}, mixture {mixture}")
        for name in wanted.keys() - there.keys():
            self._say_once(
                name, f"source {name!r} is empty; its share of each batch goes to {sorted(there)} until it is not"
            )
        return there

    @staticmethod
    def _split(batch_size: int, weights: Mapping[str, float], rng: np.random.Generator) -> dict[str, int]:
        """Rows of each source: floor or ceiling of its share, its share on average (systematic sampling)."""
        scale = batch_size / sum(weights.values())
        offset, end, done = (rng.random() if len(weights) > 1 else 0.5), 0.0, 0
        counts = {}
        for name, weight in weights.items():
            end += weight * scale
            counts[name] = min(int(end + offset), batch_size) - done
            done += counts[name]
        counts[name] += batch_size - done
        return counts

    # ---- on the disk

    def save(self, folder: str | Path) -> None:
        """Commit to `folder` what is new since the last save there: cheap enough for every few seconds.

        The first save to a folder writes everything. A kill at any moment leaves what the last finished save had.

        Raises:
            ReplayError: the folder holds another buffer, or another process has saved to it. DatasetLockedError: one is
                saving there. OSError: no room.
        """
        path = Path(folder).resolve()
        if self._folder is None or self._folder.path != path or not self._folder.is_there():
            self._folder = new_folder(path)
            for source in self._sources.values():
                source.saved = 0
                source.changed.clear()
        self._folder.save(self._manifest(), self._sources.values())

    @staticmethod
    def load(folder: str | Path, encoders: Mapping[str, FeatureEncoder] | None = None) -> ReplayBuffer:
        """The buffer as it was saved: the same samples from the same rng, episodes in progress included.

        Bounds of the spaces are not kept. Without the `encoders` it was made with, features can be sampled but no frames added.

        Raises:
            ReplayError: there is no buffer, or the encoders are others.
        """
        files = open_folder(Path(folder).resolve())
        plain = files.manifest
        observation = plain["observation"]
        buffer = ReplayBuffer(
            Observations.space_from(observation),
            gymnasium.spaces.Box(-1.0, 1.0, (plain["action_size"],), np.float32),
            n_step=plain["n_step"],
            encoders=Observations.encoders_from(observation, encoders),
            tasks=plain["tasks"],
            **plain["rules"],
        )
        for name, entry in plain["sources"].items():
            buffer.add_source(name, entry["capacity"], entry["labels"])
        buffer._capacity = plain["capacity"]
        load_sources(files, buffer._sources)
        if STALE in plain:
            for source in buffer._sources.values():
                source.recompute(buffer.rules)
        buffer._folder = files
        return buffer

    def _manifest(self) -> dict[str, Any]:
        return {
            **FORMAT,
            "observation": self.observations.to_dict(),
            "action_size": self.action_size,
            "rules": asdict(self.rules),
            "n_step": self.n_step,
            "tasks": list(self.tasks),
            "capacity": dict(self._capacity) if isinstance(self._capacity, Mapping) else self._capacity,
            "sources": {n: {"capacity": s.capacity, "labels": s.labels} for n, s in self._sources.items()},
        }

    # ---- inside

    def _source(self, name: str, labels: int = 1) -> Source:
        return self._sources[name] if name in self._sources else self.add_source(name, labels=labels)

    def _check_actions(self, actions: Any, length: int | None) -> np.ndarray:
        checked = np.asarray(actions, np.float32)
        shape = (self.action_size,) if length is None else (length, self.action_size)
        if checked.shape != shape:
            raise ReplayError(f"action: expected shape {shape}, found {checked.shape}")
        # Not a number is not inside either.
        if not (np.abs(checked) <= 1.0 + ROUNDING).all():
            worst = checked.reshape(-1)[~(np.abs(checked.reshape(-1)) <= 1.0 + ROUNDING)][0]
            raise ReplayError(f"action: expected numbers in [-1, 1], found {worst}; scale actions to the action space")
        return checked.clip(-1.0, 1.0)

    def _say_once(self, about: str, text: str) -> None:
        if about not in self._said:
            self._said.add(about)
            log.warning(text)
