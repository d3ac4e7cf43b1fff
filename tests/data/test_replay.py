from __future__ import annotations

import logging
from typing import Any

import gymnasium
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robot_learning.data.observations import ReplayError
from robot_learning.data.replay import ReplayBuffer, Transitions

from .replay_reference import ACTION_SPACE, PlainSource, action_of, frame, frames, make_buffer

GAMMA = 0.9


class Pair:
    """The buffer and its plain reference, fed with the same steps."""

    def __init__(self, capacity: int, steps: int, lowest: float | None) -> None:
        self.steps = steps
        self.buffer = make_buffer(capacity=capacity, gamma=GAMMA, n_step=steps, lowest_reward=lowest)
        self.plain = PlainSource(capacity, GAMMA, -np.inf if lowest is None else min(0.0, lowest / (1 - GAMMA)))

    def step(self, stream: int, reward: float, end: str) -> None:
        plain = self.plain
        running = plain.running.get(stream)
        if running is None or running.numbers[-1] <= plain.written - plain.capacity:
            running = plain.running[stream] = plain.start()
        number = running.numbers[-1]
        running.numbers.append(plain.new_frame())
        running.rewards.append(reward)
        self.buffer.add_step(
            "online", stream, frame(number), action_of(number), reward, frame(running.numbers[-1]),
            end in ("terminated", "success"), end == "truncated", end == "success",
        )  # fmt: skip
        if end:
            running.ended, running.terminated = True, end != "truncated"
            running.success = end == "success"
            del plain.running[stream]

    def episode(self, rewards: list[float], end: str) -> None:
        if len(rewards) + 1 > self.plain.capacity:
            return
        plain = self.plain.start()
        plain.numbers += [self.plain.new_frame() for _ in rewards]
        plain.rewards, plain.ended, plain.terminated = rewards, True, end != "truncated"
        plain.success = end == "success"
        numbers = plain.numbers
        actions = np.array([action_of(n) for n in numbers[:-1]])
        self.buffer.add_episode(
            "online", frames(numbers[0], len(numbers)), actions, np.array(rewards), plain.terminated, plain.success
        )

    def check(self) -> None:
        """The same transitions are there, and whatever is sampled is one of them."""
        expected = self.plain.expected(self.steps)
        assert len(self.buffer) == len(expected)
        if expected:
            batch = self.buffer.sample(40 * len(expected), None, np.random.default_rng(0))
            found = by_number(batch)
            assert found.keys() == expected.keys()
            for number, values in expected.items():
                assert found[number] == pytest.approx(values, rel=1e-5, abs=1e-6)
            np.testing.assert_array_equal(
                batch.action, [action_of(int(n)) for n in batch.observation["observation"][:, 0]]
            )


def by_number(batch: Transitions) -> dict[int, tuple[float, float, int, float, bool]]:
    columns = zip(
        batch.observation["observation"][:, 0].astype(int).tolist(), batch.reward.tolist(), batch.discount.tolist(),
        batch.next_observation["observation"][:, 0].astype(int).tolist(), batch.mc_return.tolist(),
        batch.success.tolist(), strict=True,
    )  # fmt: skip
    return {number: values for number, *values in columns}  # type: ignore[misc]


ENDS = st.sampled_from(["", "", "", "terminated", "truncated", "success"])
REWARDS = st.sampled_from([0.0, 1.0, -0.5, 2.0])
STEPS = st.tuples(st.just("step"), st.integers(0, 2), REWARDS, ENDS)
EPISODES = st.tuples(
    st.just("episode"), st.lists(REWARDS, min_size=1, max_size=6), st.sampled_from(["truncated", "success"])
)


@settings(max_examples=150, deadline=None)
@given(
    capacity=st.integers(2, 14),
    steps=st.integers(1, 4),
    lowest=st.sampled_from([None, 0.0, -0.5]),
    operations=st.lists(st.one_of(STEPS, STEPS, STEPS, EPISODES), max_size=40),
)
def test_equals_the_plain_reference(capacity: int, steps: int, lowest: float | None, operations: list[Any]) -> None:
    pair = Pair(capacity, steps, lowest)
    for kind, *arguments in operations:
        getattr(pair, kind)(*arguments)
    pair.check()


def fill(buffer: ReplayBuffer, source: str, episodes: int = 3, length: int = 5, **options: Any) -> None:
    """Episodes of reward 1 at the end, which terminate in success."""
    for number in range(episodes):
        actions = np.array([action_of(n) for n in range(length)])
        rewards = (np.arange(length) == length - 1).astype(float)
        buffer.add_episode(source, frames(100 * number, length + 1), actions, rewards, True, True, **options)


def test_same_rng_same_batch() -> None:
    buffer = make_buffer()
    fill(buffer, "a")
    fill(buffer, "b")
    first, second = (buffer.sample(64, {"a": 1, "b": 2}, np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(first.observation["observation"], second.observation["observation"])
    np.testing.assert_array_equal(first.source, second.source)


def test_mixture_is_met_exactly_where_it_can_be() -> None:
    buffer = make_buffer()
    fill(buffer, "demonstrations", episodes=1)
    fill(buffer, "online", episodes=50)
    batch = buffer.sample(64, {"demonstrations": 0.25, "online": 0.75}, np.random.default_rng(0))
    assert np.bincount(batch.source).tolist() == [16, 48]
    assert [buffer.sources[number] for number in np.unique(batch.source)] == ["demonstrations", "online"]


def test_mixture_is_met_on_average_where_rows_do_not_divide() -> None:
    buffer = make_buffer()
    for name in "abc":
        fill(buffer, name)
    rng = np.random.default_rng(0)
    counts = [np.bincount(buffer.sample(4, dict.fromkeys("abc", 1.0), rng).source, minlength=3) for _ in range(3000)]
    assert set(np.unique(counts)) == {1, 2}
    np.testing.assert_allclose(np.mean(counts, axis=0), 4 / 3, atol=0.03)


def test_no_mixture_weighs_sources_by_their_size() -> None:
    buffer = make_buffer()
    fill(buffer, "a", episodes=1)
    fill(buffer, "b", episodes=3)
    assert np.bincount(buffer.sample(40, None, np.random.default_rng(0)).source).tolist() == [10, 30]


def test_an_empty_source_gives_its_share_to_the_others_and_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    buffer = make_buffer()
    fill(buffer, "demonstrations")
    fill(buffer, "play")
    mixture = {"online": 0.5, "demonstrations": 0.25, "play": 0.25}
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            batch = buffer.sample(64, mixture, np.random.default_rng(0))
    assert np.bincount(batch.source).tolist() == [32, 32]
    assert [record.message for record in caplog.records] == [
        "source 'online' is empty; its share of each batch goes to ['demonstrations', 'play'] until it is not"
    ]


@pytest.mark.parametrize("mixture", [{"a": -1.0}, {"a": np.nan}, {"a": 0.0}, {"b": 1.0}])
def test_a_mixture_that_cannot_be_used_is_refused(mixture: dict[str, float]) -> None:
    buffer = make_buffer(capacity={"a": 100})
    fill(buffer, "a")
    with pytest.raises(ReplayError, match="mixture"):
        buffer.sample(8, mixture)


def test_an_empty_buffer_is_refused() -> None:
    with pytest.raises(ReplayError, match="nothing to sample"):
        make_buffer().sample(8)


def test_pictures_stay_uint8_and_floats_become_float32() -> None:
    space = gymnasium.spaces.Dict(
        {
            "observation.state": gymnasium.spaces.Box(-1, 1, (3,), np.float64),
            "observation.images.front": gymnasium.spaces.Box(0, 255, (4, 4, 3), np.uint8),
        }
    )
    buffer = ReplayBuffer(space, ACTION_SPACE, capacity=50)
    space.seed(0)
    shots = [space.sample() for _ in range(6)]
    episode = {key: np.stack([shot[key] for shot in shots]) for key in space}
    buffer.add_episode("play", episode, np.zeros((5, 2)), np.zeros(5), False)
    batch = buffer.sample(8, rng=np.random.default_rng(0))
    assert {key: (v.dtype.name, v.shape) for key, v in batch.next_observation.items()} == {
        "observation.state": ("float32", (8, 3)),
        "observation.images.front": ("uint8", (8, 4, 4, 3)),
    }


def test_tasks_are_numbered_in_the_order_they_come() -> None:
    buffer = make_buffer(tasks=["open the drawer"])
    fill(buffer, "demonstrations", task="close the drawer")
    fill(buffer, "demonstrations", task="open the drawer")
    assert buffer.tasks == ["open the drawer", "close the drawer"]
    assert np.unique(buffer.sample(64, rng=np.random.default_rng(0)).task).tolist() == [0, 1]


def test_success_marks_the_episode_so_far() -> None:
    buffer = make_buffer()
    for number in range(3):
        ends = (False, False, number == 1)
        buffer.add_step("online", 0, frame(number), action_of(number), 0.0, frame(number + 1), *ends)
    assert buffer.source("online").success[:4, 0].tolist() == [True, True, True, False]


def test_a_step_that_does_not_continue_the_episode_cuts_it(caplog: pytest.LogCaptureFixture) -> None:
    buffer = make_buffer(lowest_reward=0.0)
    buffer.add_step("online", 0, frame(0), action_of(0), 1.0, frame(1), False, False)
    buffer.add_step("online", 0, frame(50), action_of(0), 1.0, frame(51), False, False)
    assert buffer.source("online").mc_return[:4, 0].tolist() == [1.0, 0.0, -np.inf, 0.0]
    assert "did not continue" in caplog.text


def test_another_task_begins_another_episode() -> None:
    buffer = make_buffer()
    buffer.add_step("online", 0, frame(0), action_of(0), 1.0, frame(1), False, False, task="open")
    buffer.add_step("online", 0, frame(1), action_of(1), 1.0, frame(2), False, False, task="close")
    assert buffer.source("online").frames == 4


def test_cut_ends_running_episodes() -> None:
    buffer = make_buffer(lowest_reward=-1.0, gamma=0.5)
    for stream in range(2):
        buffer.add_step("online", stream, frame(stream), action_of(0), -1.0, frame(10 + stream), False, False)
    buffer.cut("online")
    assert buffer.source("online").mc_return[[0, 2], 0].tolist() == [-2.0, -2.0]


def test_an_episode_longer_than_the_ring_is_refused() -> None:
    with pytest.raises(ReplayError, match="room for 4 frames, found an episode of 6"):
        fill(make_buffer(capacity=4), "online")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"action": np.array([0.0, 1.5])}, r"in \[-1, 1\], found 1.5"),
        ({"action": np.array([0.0, np.nan])}, "found nan"),
        ({"action": np.zeros(3)}, r"expected shape \(2,\)"),
        ({"reward": np.inf}, "reward"),
        ({"next_observation": np.array([np.nan])}, "finite"),
        ({"observation": np.zeros(2)}, r"expected shape \(1,\), found \(2,\)"),
        ({"observation": {"state": np.zeros(1)}}, r"missing \['observation'\]"),
    ],
)
def test_a_bad_step_is_refused_and_nothing_is_added(change: dict[str, Any], message: str) -> None:
    buffer = make_buffer(capacity={"online": 10})
    step = {"observation": frame(0), "action": action_of(0), "reward": 0.0, "next_observation": frame(1)} | change
    with pytest.raises(ReplayError, match=message):
        buffer.add_step("online", 0, **step, terminated=False, truncated=False)
    assert buffer.source("online").frames == 0


def test_a_capacity_that_memory_cannot_hold_is_refused() -> None:
    with pytest.raises(ReplayError, match="do not fit into memory"):
        fill(make_buffer(capacity=10**15), "online")


def test_a_name_that_is_no_file_name_is_refused() -> None:
    with pytest.raises(ReplayError, match="'a/b'"):
        make_buffer().add_source("a/b")


def test_statistics_count_episodes_successes_and_ranges() -> None:
    buffer = make_buffer()
    fill(buffer, "online", episodes=2)
    buffer.add_episode("online", frames(0, 4), np.zeros((3, 2)), np.full(3, -1.0), False)
    buffer.add_step("online", 0, frame(0), action_of(0), 7.0, frame(1), False, False)
    found = buffer.statistics()["online"]
    assert (found.frames, found.transitions, found.episodes, found.successes, found.running) == (18, 14, 3, 2, 1)
    assert found.mean_return == pytest.approx(-1 / 3)
    assert found.reward == (-1.0, 7.0)
    np.testing.assert_allclose(found.action.max(axis=0), np.max([action_of(n) for n in range(5)], axis=0))


def test_a_source_grows_to_what_is_reserved() -> None:
    buffer = make_buffer(capacity={"a": 8})
    fill(buffer, "a", episodes=1)
    buffer.reserve("a", 30)
    fill(buffer, "a", episodes=5)
    assert (buffer.source("a").capacity, buffer.size("a")) == (36, 30)
    assert set(buffer.sample(100, rng=np.random.default_rng(0)).success.tolist()) == {True}


def test_a_ring_that_has_wrapped_does_not_grow() -> None:
    buffer = make_buffer(capacity={"a": 8})
    fill(buffer, "a", episodes=2)
    with pytest.raises(ReplayError, match="has begun to overwrite its 8 frames"):
        buffer.reserve("a", 30)
