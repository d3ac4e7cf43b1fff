from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete

from robot_learning.data.observations import Observations, ReplayError
from robot_learning.data.replay import ReplayBuffer

from .replay_reference import ACTION_SPACE

FRONT, STATE = "observation.images.front", "observation.state"
SPACE = Dict({FRONT: Box(0, 255, (4, 4, 3), np.uint8), STATE: Box(-1, 1, (2,), np.float32)})


@dataclass
class MeanColour:
    """Features of a picture: its mean colour and the number 1. Keeps count of the pictures it saw."""

    name: str = "mean colour"
    size: int = 4
    dtype: str = "float16"
    seen: list[int] = field(default_factory=list)

    def __call__(self, images: np.ndarray) -> np.ndarray:
        self.seen.append(len(images))
        return np.concatenate([images.mean(axis=(1, 2)) / 255, np.ones((len(images), 1))], axis=1)


def frames(count: int, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        FRONT: rng.integers(0, 256, (count, 4, 4, 3), dtype=np.uint8),
        STATE: rng.uniform(-1, 1, (count, 2)).astype(np.float32),
    }


def buffer_with(encoder: Any, **options: Any) -> ReplayBuffer:
    return ReplayBuffer(SPACE, ACTION_SPACE, capacity=1000, encoders={FRONT: encoder}, **options)


def add_steps(buffer: ReplayBuffer, shots: dict[str, np.ndarray], first: int = 0) -> None:
    for t in range(first, len(shots[STATE]) - 1):
        here, there = ({key: values[t + k] for key, values in shots.items()} for k in range(2))
        buffer.add_step("online", 0, here, np.zeros(2), 0.0, there, False, False)


def test_episodes_are_encoded_in_batches_once_per_frame() -> None:
    encoder = MeanColour()
    buffer = buffer_with(encoder)
    shots = frames(600)
    buffer.add_episode("play", shots, np.zeros((599, 2)), np.zeros(599), False)
    assert encoder.seen == [256, 256, 88]
    kept = buffer.source("play").observation[FRONT][:600]
    assert kept.dtype == np.float16
    np.testing.assert_allclose(kept[:, :3], shots[FRONT].mean(axis=(1, 2)) / 255, atol=1e-3)


def test_steps_are_encoded_once_per_frame() -> None:
    encoder = MeanColour()
    add_steps(buffer_with(encoder), frames(5))
    assert encoder.seen == [1] * 5


def test_sampled_features_are_float32() -> None:
    buffer = buffer_with(MeanColour())
    add_steps(buffer, frames(5))
    batch = buffer.sample(8, rng=np.random.default_rng(0))
    assert (batch.observation[FRONT].shape, batch.observation[FRONT].dtype) == ((8, 4), np.float32)


def test_another_picture_is_noticed_behind_the_features() -> None:
    buffer = buffer_with(MeanColour(), lowest_reward=0.0)
    shots = frames(3)
    add_steps(buffer, shots)
    shots[FRONT][2] = np.flip(shots[FRONT][2], axis=(0, 1))  # another picture of the same features
    add_steps(buffer, {key: np.concatenate([v[2:], v[:1]]) for key, v in shots.items()})
    assert np.isfinite(buffer.source("online").mc_return[:2, 0]).all()


def test_features_are_saved_and_the_episode_goes_on_after_loading(tmp_path: Path) -> None:
    buffer, shots = buffer_with(MeanColour()), frames(9)
    add_steps(buffer, {key: values[:5] for key, values in shots.items()})
    buffer.save(tmp_path / "replay")
    loaded = ReplayBuffer.load(tmp_path / "replay", {FRONT: MeanColour()})
    add_steps(loaded, shots, first=4)
    assert loaded.source("online").frames == 9
    np.testing.assert_array_equal(
        loaded.source("online").observation[FRONT][:5], buffer.source("online").observation[FRONT][:5]
    )


def test_without_the_encoder_a_loaded_buffer_gives_samples_but_takes_no_frames(tmp_path: Path) -> None:
    buffer = buffer_with(MeanColour())
    add_steps(buffer, frames(5))
    buffer.save(tmp_path / "replay")
    loaded = ReplayBuffer.load(tmp_path / "replay")
    assert len(loaded.sample(4)) == 4
    with pytest.raises(ReplayError, match="loaded without its encoder 'mean colour'"):
        add_steps(loaded, frames(5))


@pytest.mark.parametrize("change", [{"name": "other weights"}, {"size": 5}, {"dtype": "float32"}])
def test_another_encoder_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    buffer = buffer_with(MeanColour())
    buffer.save(tmp_path / "replay")
    with pytest.raises(ReplayError, match="the saved features come from"):
        ReplayBuffer.load(tmp_path / "replay", {FRONT: replace(MeanColour(), **change)})


def test_features_of_another_size_are_refused() -> None:
    with pytest.raises(ReplayError, match=r"expected finite features \(1, 7\)"):
        add_steps(buffer_with(MeanColour(size=7)), frames(2))


def test_an_encoder_without_its_key_is_refused() -> None:
    with pytest.raises(ReplayError, match=r"no \['wrist'\]"):
        ReplayBuffer(SPACE, ACTION_SPACE, encoders={"wrist": MeanColour()})


def test_an_encoder_of_another_type_is_refused() -> None:
    with pytest.raises(ReplayError, match="'float16' or 'float32', found 'int8'"):
        buffer_with(MeanColour(dtype="int8"))


@pytest.mark.parametrize("space", [Discrete(3), Dict({"a": Discrete(3)}), Dict({"a": SPACE})])
def test_a_space_of_something_else_is_refused(space: gymnasium.Space[Any]) -> None:
    with pytest.raises(ReplayError, match="expected a Box or a Dict of Boxes"):
        Observations(space)


def test_pictures_of_floats_are_refused() -> None:
    shots = {key: values[0] for key, values in frames(1).items()}
    with pytest.raises(ReplayError, match="expected uint8, found float64"):
        Observations(SPACE).check({**shots, FRONT: shots[FRONT] / 255})


def test_a_key_too_many_is_left_alone() -> None:
    shots = {key: values[0] for key, values in frames(1).items()}
    assert list(Observations(SPACE).check({**shots, "more": np.zeros(3)})) == list(SPACE)
