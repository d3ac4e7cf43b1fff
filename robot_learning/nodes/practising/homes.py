"""Where the practice node's episodes begin, by its parameters and by the policy that acts first."""

from __future__ import annotations

import dataclasses

from robot_learning.control.homing import Homes
from robot_learning.control.retries import RetryPlan
from robot_learning.policies import read_checkpoint


def homes_of(checkpoint: str, home: tuple[float, ...], spread: tuple[float, ...]) -> Homes:
    """About `home` (3,) [m] where it is given; else where demonstrations of `checkpoint` began, if it knows; else the playroom's.

    Args:
        spread: half ranges (3,) [m]; empty: the usual ones.

    Raises:
        CheckpointError: it is damaged, or not there.
    """
    homes = Homes()
    if home:
        x, y, z = home
        homes = Homes(((x, y, z, 0.0),))
    elif checkpoint and (plan := read_checkpoint(checkpoint).config.get("retry")):
        homes = Homes.demonstrated(RetryPlan.from_dict(plan).starts)
    return dataclasses.replace(homes, spread=tuple(spread)) if spread else homes
