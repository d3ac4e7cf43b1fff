"""Noise of practice that follows from seed and episode, and how long a clone is trained as its data grows."""

import numpy as np
import pytest

from robot_learning.algorithms.self_imitation import Exploration, Lingering, SelfImitationConfig

CONFIG = SelfImitationConfig(noise=0.2, noise_correlation=0.7, noisy_share=1.0)
STILL = np.zeros(5, np.float32)


def drawn(config: SelfImitationConfig, seed: int = 0, episode: int = 0, ticks: int = 4000) -> np.ndarray:
    noise = Exploration(config, 5, seed, episode)
    return np.array([noise(STILL) for _ in range(ticks)])


def test_it_has_the_size_and_the_correlation_asked_for() -> None:
    values = drawn(CONFIG)
    assert values.std() == pytest.approx(0.2, abs=0.01)
    assert np.corrcoef(values[:-1, 0], values[1:, 0])[0, 1] == pytest.approx(0.7, abs=0.05)


def test_an_episode_s_noise_can_be_drawn_again() -> None:
    assert np.array_equal(drawn(CONFIG, 3, 7, 20), drawn(CONFIG, 3, 7, 20))
    assert not np.array_equal(drawn(CONFIG, 3, 7, 20), drawn(CONFIG, 3, 8, 20))


def test_actions_stay_in_range() -> None:
    noise = Exploration(CONFIG, 5, 0, 0)
    assert max(np.abs(noise(np.ones(5, np.float32))).max() for _ in range(100)) <= 1.0


def test_some_episodes_are_without_noise() -> None:
    some = SelfImitationConfig(noisy_share=0.75)
    noisy = [Exploration(some, 5, 0, episode).noisy for episode in range(400)]
    assert np.mean(noisy) == pytest.approx(0.75, abs=0.06)
    still = noisy.index(False)
    assert np.array_equal(Exploration(some, 5, 0, still)(STILL), STILL)


@pytest.mark.parametrize(("frames", "expected"), [(500, 1000), (1000, 1000), (4000, 2000), (10**6, 3000)])
def test_training_grows_with_the_root_of_the_data(frames: int, expected: int) -> None:
    config = SelfImitationConfig(gradient_steps=1000, growth=0.5, most_gradient_steps=3000)
    assert config.gradient_steps_for(frames, first=1000) == expected


def test_an_episode_lingers_after_success() -> None:
    success = Lingering(2, must_last=True)
    assert [success.over(seen) for seen in (False, True, True, True)] == [False, False, False, True]
    assert success.solved


def test_a_success_that_does_not_last_is_none_and_the_episode_goes_on() -> None:
    success = Lingering(2, must_last=True)
    assert not any(success.over(seen) for seen in (True, True, False, True, True))
    assert success.over(True) and success.solved


def test_without_that_the_first_sight_counts() -> None:
    success = Lingering(2, must_last=False)
    assert [success.over(seen) for seen in (True, False, False)] == [False, False, True]
    assert success.solved
