"""Each algorithm gets clearly better than where it started: a point that must be moved to a goal, from data and by practice."""

from typing import Any

import numpy as np
import pytest

from robot_learning.algorithms.cal_ql import CalQL, CalQLConfig
from robot_learning.algorithms.iql import IQL, IQLConfig
from robot_learning.algorithms.offline_to_online import DEMONSTRATIONS, OfflineToOnline
from robot_learning.algorithms.rlpd import RLPD, RLPDConfig

from .worlds import PointGoal, add_walks

HORIZON, RADIUS = 8, 0.08
SMALL: dict[str, Any] = {"hidden": (32, 32), "layer_norm": True, "target_range": (0.0, 1.0)}
RATES: dict[str, Any] = {"actor_learning_rate": 1e-3, "critic_learning_rate": 1e-3}
ENTROPY: dict[str, Any] = {"entropy_weight": 0.003, "log_std_range": (-3.0, 0.0)}
KINDS: dict[str, tuple[type[OfflineToOnline], Any]] = {
    "CalQL": (CalQL, CalQLConfig(**SMALL, **RATES, **ENTROPY, n_actions=2, penalty_weight=0.05)),
    "IQL": (IQL, IQLConfig(**SMALL, **RATES, expectile=0.8, temperature=10.0)),
    "RLPD": (RLPD, RLPDConfig(**SMALL, **RATES, **ENTROPY, critics=3)),
}


def success(model: OfflineToOnline, episodes: int = 60) -> float:
    """Share of episodes in which the policy's mode gets to the goal, on starts that are not those of training."""
    won = 0
    for number in range(episodes):
        env = PointGoal(HORIZON, RADIUS)
        observation, over = env.reset(seed=10_000 + number)[0], False
        while not over:
            action = model.predict(observation, deterministic=True)[0]
            observation, reward, terminated, truncated, _ = env.step(action)
            over = terminated or truncated
        won += reward > 0
    return won / episodes


@pytest.mark.parametrize("kind", KINDS)
def test_from_poor_data_and_practice_it_gets_good(kind: str) -> None:
    make, config = KINDS[kind]
    env = PointGoal(HORIZON, RADIUS)
    model = make("MlpPolicy", env, config, batch_size=64, gamma=0.9, lowest_reward=0.0, seed=0)
    add_walks(model.replay, DEMONSTRATIONS, PointGoal(HORIZON, RADIUS), 60, 0.35)
    recorded = np.mean([s.successes / s.episodes for s in model.replay.statistics().values()])  # type: ignore[union-attr]
    start = success(model)
    model.pretrain(steps=800)
    offline = success(model)
    model.learn(800)
    practised = success(model)
    assert recorded < 0.6 and start < 0.4
    assert practised > recorded + 0.2
    assert practised >= offline - 0.1
