"""The tool's pose out of a state vector, by the names of its elements."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

TOOL = ("tcp.x", "tcp.y", "tcp.z", "tcp.cos_yaw", "tcp.sin_yaw")
"""The elements of observation.state that hold it; `control/proprioception.py` computes them."""


def tool_pose(names: Sequence[str], state: np.ndarray) -> tuple[np.ndarray, float]:
    """Tool centre point `(3,)` [m] and yaw [rad], in base, from a state `(n,)` whose elements have these `names`."""
    x, y, z, cosine, sine = (float(state[names.index(name)]) for name in TOOL)
    return np.array([x, y, z]), math.atan2(sine, cosine)
