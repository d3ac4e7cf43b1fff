"""ReplayBuffer: demonstrations, play and the robot's own experience side by side, sampled at a set ratio (docs/replay.md)."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import gymnasium
import numpy as np

from robot_learning.data.observations import FeatureEncoder, Observations, ReplayError
from robot_learning.data.replay_source import Labels, Picked, Source, Step
from robot_learning.data.replay_statistics import SourceStatistics, source_statistics
from robot_learning.data.returns import ReturnRules

log = logging.getLogger(__name__)
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
ROUNDING = 1e-5  # an action may be this far outside [-1, 1]; it is clipped


@dataclass(frozen=True)
class Transitions:
    """A batch of B transitions over k steps each, 1 <= k <= n_step, one source after the other.

    Attributes:
        observation, next_observation: `(B, *shape)` by key; pictures uint8, everything else as stored, features float32.
        action: `(B, A)` float32 in [-1, 1]. reward: `(B,)` float32, discounted sum over the k steps.
        discount: `(B,)` float32, gamma**k, 0 where the episode terminated within them.
        mc_return: `(B,)` float32, discounted return to the end of the episode or a lower bound of it, -inf where unknown.
        success: `(B,)` bool, whether the episode, so far, reached its goal.
        source: `(B,)` int64, index into `ReplayBuffer.sources`. task: `(B,)` int64, index into `ReplayBuffer.tasks`.
    """

    observation: dict[str, np.ndarray]
    next_observation: dict[str, np.ndarray]
    action: np.ndarray
    reward: np.ndarray
    discount: np.ndarray
    mc_return: np.ndarray
    success: np.ndarray
    source: np.ndarray
    task: np.ndarray

    def __len__(self) -> int:
        return len(self.reward)


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
        self.observation_space = observation_space
        self.observations = Observations(observation_space, encoders)
        self.action_size = int(action_space.shape[0])
        self.rules = ReturnRules(gamma, reward_scale, reward_bias, lowest_reward)
        self.n_step = n_step
        self.tasks: list[str] = list(tasks)
        self._task_numbers = {task: number for number, task in enumerate(self.tasks)}
        self._sources: dict[str, Source] = {}
        self._capacity = capacity
        self._said: set[str] = set()
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
        return self._gather(picked)

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

    def _gather(self, picked: Sequence[tuple[int, Source, Picked]]) -> Transitions:
        size = sum(len(pick.row) for _, _, pick in picked)
        out = {name: np.empty((size, *like.shape[1:]), like.dtype) for name, like in picked[0][1].sampled.items()}
        frames = [
            {key: np.empty((size, *kept.kept_shape), kept.kept_dtype) for key, kept in self.observations.keys.items()}
            for _ in range(2)
        ]
        own = {name: np.empty(size, np.float32) for name in ("reward", "discount")}
        number_of, start = np.empty(size, np.int64), 0
        for number, source, pick in picked:
            part = slice(start, start + len(pick.row))
            for rows, target in zip((pick.row, pick.next_row), frames, strict=True):
                for key, values in target.items():
                    # The rows are known to be inside; mode="clip" writes straight into `out`.
                    source.observation[key].take(rows, 0, values[part], "clip")
            source.action.take(pick.row, 0, out["action"][part], "clip")
            for name in ("mc_return", "success", "task"):
                source.sampled[name].take(pick.label, 0, out[name][part], "clip")
            own["reward"][part], own["discount"][part], number_of[part] = pick.reward, pick.discount, number
            start = part.stop
        observation, following = ({key: _readable(values) for key, values in target.items()} for target in frames)
        task = out.pop("task").astype(np.int64)
        return Transitions(observation, following, **out, **own, source=number_of, task=task)

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


def _readable(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float32) if values.dtype == np.float16 else values
