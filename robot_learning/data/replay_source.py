"""One source of a replay buffer: a ring of frames, each stored once, and the labels of the transitions between them.

A frame has a running number that never repeats; it lives in row `number % capacity`. `following` leads from a frame to the
next one of its episode, so episodes of several environments may interleave. What follows a frame was written after it and is
overwritten after it, so whatever is valid leads only to frames that are still there.

A frame may carry several labels, one per column: the same movement is reward and end for one task and nothing for another.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from robot_learning.data.observations import Observations, ReplayError
from robot_learning.data.returns import Chains, ReturnRules, follow, monte_carlo

FRAME_ARRAYS = ("action", "following")
LABEL_ARRAYS = ("reward", "mc_return", "terminated", "success", "valid", "task")


@dataclass(frozen=True)
class Labels:
    """What T transitions mean for L tasks.

    Attributes:
        reward: `(T, L)`. terminated: `(T, L)` bool, whether the attempt ended with this transition.
        success: `(T, L)` bool, whether the attempt that the transition belongs to reached its goal.
        valid: `(T, L)` bool, False where the transition belongs to no attempt (the task was done before).
        task: `(L,)` indices of the tasks.
    """

    reward: np.ndarray
    terminated: np.ndarray
    success: np.ndarray
    valid: np.ndarray
    task: np.ndarray


@dataclass
class Running:
    """An episode that goes on: the numbers of its frames, oldest first, its task and whether it reached its goal.

    `pictures` are those of the newest frame that are stored as features; empty after loading.
    """

    numbers: deque[int]
    task: int
    success: bool = False
    pictures: dict[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class Step:
    """One checked step of an environment."""

    observation: dict[str, np.ndarray]
    action: np.ndarray
    reward: float
    next_observation: dict[str, np.ndarray]
    terminated: bool
    truncated: bool
    success: bool
    task: int


@dataclass(frozen=True)
class Picked:
    """B sampled transitions of one source: rows of frame and next frame, flat label indices, sums over the steps between."""

    row: np.ndarray
    next_row: np.ndarray
    label: np.ndarray
    reward: np.ndarray
    discount: np.ndarray


@dataclass
class Source:
    """The ring of one source. Arrays have `capacity` rows; label arrays `(capacity, L)`; memory is only used where written.

    Attributes:
        written: frames ever written, so the next number. transitions: valid (frame, label) pairs at present.
        running: the episode in progress of each stream (environment of a vector environment).
        changed: numbers of frames saved before whose labels have changed since; saved: frames below this are on the disk.
    """

    name: str
    capacity: int
    labels: int
    observations: Observations
    actions: int
    written: int = 0
    transitions: int = 0
    running: dict[int, Running] = field(default_factory=dict)
    changed: set[int] = field(default_factory=set)
    saved: int = 0

    def __post_init__(self) -> None:
        if self.capacity < 2 or self.labels < 1:
            raise ReplayError(
                f"source {self.name!r}: expected room for at least 2 frames and 1 label, "
                f"found capacity {self.capacity}, labels {self.labels}"
            )
        self._allocate()

    def _allocate(self) -> None:
        rows, labels = self.capacity, (self.capacity, self.labels)
        try:
            self.observation = {
                key: np.zeros((rows, *kept.kept_shape), kept.kept_dtype) for key, kept in self.observations.keys.items()
            }
            self.action = np.zeros((rows, self.actions), np.float32)
            self.following = np.full(rows, -1, np.int64)
            self.reward, self.mc_return = np.zeros(labels, np.float32), np.zeros(labels, np.float32)
            self.terminated, self.success, self.valid = (np.zeros(labels, bool) for _ in range(3))
            self.task = np.zeros(labels, np.int32)
        except (MemoryError, ValueError) as error:
            raise ReplayError(
                f"source {self.name!r}: {rows} frames do not fit into memory ({error}); give it a smaller capacity"
            ) from error
        flat = {name: getattr(self, name).reshape(-1) for name in ("mc_return", "success", "task")}
        self.sampled: dict[str, np.ndarray] = {"action": self.action, **flat}

    def grow(self, capacity: int) -> None:
        """Make room for `capacity` frames.

        Raises:
            ReplayError: the ring has begun to overwrite frames, so rows have lost their order.
        """
        if self.written > self.capacity:
            raise ReplayError(f"source {self.name!r} has begun to overwrite its {self.capacity} frames and cannot grow")
        observation, rows = self.observation, slice(self.written)
        others = {name: getattr(self, name) for name in (*FRAME_ARRAYS, *LABEL_ARRAYS)}
        self.capacity = capacity
        self._allocate()
        for key, values in observation.items():
            self.observation[key][rows] = values[rows]
        for name, values in others.items():
            getattr(self, name)[rows] = values[rows]
        for running in self.running.values():
            running.numbers = deque(running.numbers, maxlen=capacity)

    @property
    def frames(self) -> int:
        """Frames at present."""
        return min(self.written, self.capacity)

    @property
    def oldest(self) -> int:
        """The number of the oldest frame still there."""
        return max(0, self.written - self.capacity)

    # ---- writing

    def add_episode(
        self, observation: Mapping[str, np.ndarray], action: np.ndarray, labels: Labels, rules: ReturnRules
    ) -> None:
        """Append T transitions: kept observations `(T + 1, ...)`, `action` `(T, A)`.

        Raises:
            ReplayError: the episode is longer than the ring.
        """
        if len(action) + 1 > self.capacity:
            raise ReplayError(
                f"source {self.name!r} has room for {self.capacity} frames, found an episode of {len(action) + 1}"
            )
        rows = self._claim(len(action) + 1)
        for key, values in observation.items():
            self.observation[key][rows] = values
        body = rows[:-1]
        self.action[body], self.following[body] = action, rows[1:]
        for name in ("reward", "terminated", "success", "valid"):
            getattr(self, name)[body] = getattr(labels, name)
        self.task[body] = labels.task
        self.transitions += int(labels.valid.sum())
        self.mc_return[body] = _returns(self._chains(body, rules), labels.terminated, rules.tail)

    def add_step(self, stream: int, step: Step, rules: ReturnRules) -> bool:
        """Append one step of a running episode; tells whether it had to cut an episode that the step does not continue."""
        following = self.observations.encode(step.next_observation)
        running = self.running.get(stream)
        cut = running is not None and not self._continues(running, step)
        if cut:
            self.cut(stream, rules)
            running = None
        # The frame this step adds takes the oldest row; the episode's newest frame must not be the one that lives there.
        if running is None or running.numbers[-1] <= self.written - self.capacity:
            running = Running(deque(maxlen=self.capacity), step.task)
            running.numbers.append(self._append(self.observations.encode(step.observation)))
            self.running[stream] = running
        number = running.numbers[-1]
        running.numbers.append(self._append(following))
        running.pictures = {key: step.next_observation[key].copy() for key in self.observations.encoders}
        self._link(number, running, step)
        if step.terminated or step.truncated:
            self.cut(stream, rules)
        return cut

    def cut(self, stream: int, rules: ReturnRules) -> None:
        """The episode of a stream ends where it is; its returns become known. Nothing happens when none is running."""
        running = self.running.pop(stream, None)
        numbers = self._alive(running)[:-1]
        if not numbers.size:
            return
        rows = numbers % self.capacity
        self.mc_return[rows] = _returns(self._chains(rows, rules), self.terminated[rows], rules.tail)
        self._touch(numbers)

    def recompute(self, rules: ReturnRules) -> None:
        """All returns anew, after a change of the rules."""
        numbers = np.arange(self.oldest, self.written)
        rows = numbers % self.capacity
        tail = np.full((len(rows), self.labels), rules.tail)
        for running in self.running.values():
            tail[self._alive(running) - self.oldest] = -np.inf
        place = np.full(self.capacity, -1)
        place[rows] = np.arange(len(rows))
        following = np.where(self.following[rows] >= 0, place[self.following[rows]], -1)
        self.mc_return[rows] = _returns(self._chains(rows, rules, following), self.terminated[rows], tail)
        self._touch(numbers)

    def _link(self, number: int, running: Running, step: Step) -> None:
        """The step leads from frame `number` to the one after it in `running`."""
        row = number % self.capacity
        self.action[row], self.following[row] = step.action, running.numbers[-1] % self.capacity
        self.reward[row, 0], self.terminated[row, 0], self.task[row, 0] = step.reward, step.terminated, step.task
        self.success[row, 0], self.mc_return[row, 0] = running.success, -np.inf
        self.valid[row, 0] = True
        self.transitions += 1
        if number < self.saved:
            self.changed.add(number)
        if step.success and not running.success:
            running.success = True
            numbers = self._alive(running)[:-1]
            self.success[numbers % self.capacity, 0] = True
            self._touch(numbers)

    def _continues(self, running: Running, step: Step) -> bool:
        """Whether the step starts at the newest frame of the episode, for the same task."""
        if step.task != running.task:
            return False
        row = running.numbers[-1] % self.capacity
        given, kept = running.pictures, step.observation
        if self.observations.encoders and not given:
            kept = self.observations.encode(kept)
        newest = {key: values[row] for key, values in self.observation.items()} | given
        return all(np.array_equal(value, kept[key]) for key, value in newest.items())

    def _append(self, observation: Mapping[str, np.ndarray]) -> int:
        number, row = self.written, self.written % self.capacity
        self.transitions -= int(np.count_nonzero(self.valid[row]))
        self.valid[row], self.following[row] = False, -1
        for key, value in observation.items():
            self.observation[key][row] = value
        self.written += 1
        return number

    def _claim(self, count: int) -> np.ndarray:
        """Rows of the next `count` frames, emptied."""
        rows = np.arange(self.written, self.written + count) % self.capacity
        self.transitions -= int(np.count_nonzero(self.valid[rows]))
        self.valid[rows], self.following[rows] = False, -1
        self.written += count
        return rows

    def _alive(self, running: Running | None) -> np.ndarray:
        numbers = np.array(running.numbers if running is not None else (), np.int64)
        return numbers[numbers >= self.oldest]

    def _touch(self, numbers: np.ndarray) -> None:
        self.changed.update(numbers[numbers < self.saved].tolist())

    def _chains(self, rows: np.ndarray, rules: ReturnRules, following: np.ndarray | None = None) -> Chains:
        """Chains over the transitions at `rows`, flat `(len(rows) * L,)`; they end where the next one is not valid.

        `following` `(len(rows),)` is the place in `rows` of what comes after each, or -1; without it, `rows` are one episode.
        """
        if following is None:
            following = np.arange(1, len(rows) + 1)
            following[-1:] = -1
        valid = self.valid[rows]
        goes_on = valid & ~self.terminated[rows] & (following >= 0)[:, None] & valid[following]
        follower = np.where(goes_on, following[:, None] * self.labels + np.arange(self.labels), -1)
        return follow(rules.scaled(self.reward[rows]).reshape(-1), follower.reshape(-1), rules.gamma)

    # ---- sampling

    def pick(self, count: int, steps: int, rules: ReturnRules, rng: np.random.Generator) -> Picked:
        """`count` transitions, uniform over the valid ones, over up to `steps` steps.

        They end early where the episode ends and at the newest frame of a running one.
        """
        label = self._draw(count, rng)
        row, column = (label, 0) if self.labels == 1 else np.divmod(label, self.labels)
        rewards, terminated, valid = self.reward.reshape(-1), self.terminated.reshape(-1), self.valid.reshape(-1)
        reward, ended = rules.scaled(rewards[label]), terminated[label]
        next_row, taken = self.following[row], np.ones(count, np.int64)
        for step in range(1, steps):
            here = next_row if self.labels == 1 else next_row * self.labels + column
            going = valid[here] & ~ended
            reward += (rules.gamma**step * going).astype(np.float32) * rules.scaled(rewards[here])
            taken += going
            ended |= terminated[here] & going
            next_row = np.where(going, self.following[next_row], next_row)
        discount = (rules.gamma ** np.arange(steps + 1)).astype(np.float32)[taken] * ~ended
        return Picked(row, next_row, label, reward, discount)

    def _draw(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """Flat label indices `(count,)`. What is drawn depends on the content and on `rng` only."""
        total = self.frames * self.labels
        valid = self.valid.reshape(-1)[:total]
        share = self.transitions / total
        if share < 0.05:
            return rng.choice(np.flatnonzero(valid), count)
        found = np.empty(0, np.int64)
        while len(found) < count:
            drawn = rng.integers(0, total, int((count - len(found)) / share * 1.05) + 8)
            drawn = drawn[valid[drawn]]
            found = np.concatenate([found, drawn]) if len(found) else drawn
        return found[:count]


def _returns(chains: Chains, terminated: np.ndarray, tail: np.ndarray | float) -> np.ndarray:
    tails = tail.reshape(-1) if isinstance(tail, np.ndarray) else tail
    return monte_carlo(chains, terminated.reshape(-1), tails).reshape(terminated.shape)
