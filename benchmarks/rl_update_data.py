"""The batches both sides of rl_update.py learn from: random, the same for both."""

from __future__ import annotations

import numpy as np

BATCHES, BATCH_SIZE = 8, 256


def arrays(state: int, action: int, seed: int) -> dict[str, np.ndarray]:
    """A batch of 256 transitions with Monte Carlo returns, float32."""
    rng = np.random.default_rng(seed)
    n = BATCH_SIZE
    data = {
        "observation": rng.standard_normal((n, state)),
        "next_observation": rng.standard_normal((n, state)),
        "action": np.tanh(rng.standard_normal((n, action))),
        "reward": rng.standard_normal(n),
        "terminated": rng.random(n) < 0.05,
        "mc_return": rng.standard_normal(n),
    }
    return {key: np.asarray(value, dtype=np.float32) for key, value in data.items()}
