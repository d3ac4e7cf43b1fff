"""What an observation's entries become: cameras, vectors, tasks."""

import numpy as np
import pytest
from gymnasium.spaces import Box, Dict

from robot_learning.algorithms.observation_policy import EncoderConfig, encoder_spec
from robot_learning.settings import SettingError


def picture(*shape: int) -> Box:
    return Box(0, 255, shape, np.uint8)


def test_only_colour_pictures_are_cameras() -> None:
    """As docs/offline_to_online.md says: everything else is a vector."""
    space = Dict({"front": picture(20, 30, 3), "depth": picture(4, 5, 1), "stack": picture(4, 5, 4)})
    spec = encoder_spec(space, EncoderConfig(crop=0.5), {})
    assert spec.images == ("front",) and spec.image_size == (10, 15)
    assert spec.vectors == {"depth": 20, "stack": 80}


def test_pictures_of_different_sizes_are_refused() -> None:
    space = Dict({"front": picture(20, 30, 3), "wrist": picture(20, 20, 3)})
    with pytest.raises(SettingError, match=r"one size.*front \(20, 30\), wrist \(20, 20\)"):
        encoder_spec(space, EncoderConfig(), {})
