"""Cal-QL and CQL as Stable-Baselines3 algorithms. See docs/cal_ql.md.

    model = CalQL("MlpPolicy", env, CalQLConfig(calibrate=True))
    model.pretrain("D4RL/pointmaze/umaze-v2", steps=10_000).learn(20_000)

The step itself is `cal_ql_update.CalQLUpdate.step`.
"""

from __future__ import annotations

from typing import Any, ClassVar

from torch import nn

from robot_learning.algorithms.cal_ql_update import CalQLConfig, CalQLUpdate
from robot_learning.algorithms.offline_to_online import OfflineToOnline


class CalQL(OfflineToOnline):
    """Calibrated conservative Q-learning (Nakamoto et al. 2023, arXiv 2303.05479); `CalQLConfig(calibrate=False)` is CQL."""

    config_type: ClassVar[type[Any]] = CalQLConfig

    @staticmethod
    def make_update(features: int, actions: int, config: CalQLConfig) -> nn.Module:
        """Actor, critics and their targets."""
        return CalQLUpdate(features, actions, config)


__all__ = ["CalQL", "CalQLConfig"]
