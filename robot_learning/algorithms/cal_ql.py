"""Cal-QL and CQL as Stable-Baselines3 algorithms. See docs/cal_ql.md.

    model = CalQL("MlpPolicy", env, CalQLConfig(layer_norm=True), lowest_reward=0.0)
    model.pretrain("D4RL/pointmaze/umaze-v2", steps=10_000).learn(20_000)

Critics are trained to the Bellman target and, beyond that, to give actions outside the data no more than those of the data.
For actions of the policy that is only enforced above the Monte Carlo return of the data (the calibration), so that values keep
the scale of true returns and the policy does not forget when practice shows what they really are. `lowest_reward` gives the
returns of truncated episodes a bound (docs/replay.md).

The base class does everything around the step, which is `cal_ql_update.CalQLUpdate.step`.
"""

from __future__ import annotations

from typing import Any, ClassVar

from torch import nn

from robot_learning.algorithms.cal_ql_update import CalQLConfig, CalQLUpdate
from robot_learning.algorithms.offline_to_online import OfflineToOnline


class CalQL(OfflineToOnline):
    """Calibrated conservative Q-learning (Nakamoto et al. 2023, arXiv 2303.05479).

    `CalQLConfig(calibrate=False)` is conservative Q-learning (Kumar et al. 2020, arXiv 2006.04779). Arguments: `OfflineToOnline`.
    """

    config_type: ClassVar[type[Any]] = CalQLConfig

    @staticmethod
    def make_update(features: int, actions: int, config: CalQLConfig) -> nn.Module:
        """Actor, critics and their targets."""
        return CalQLUpdate(features, actions, config)


__all__ = ["CalQL", "CalQLConfig"]
