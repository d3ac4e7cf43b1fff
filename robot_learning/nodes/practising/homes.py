"""Where the practice node's episodes begin, by its parameters and by the policy that acts first."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np

from robot_learning.control.homing import Homes, Place
from robot_learning.control.retries import RetryPlan
from robot_learning.folders import recovered
from robot_learning.nodes.parameters import ParameterError

CONFIG = "config.json"  # of a checkpoint; read as it is, as policies bring torch with them, which the conductor does not need


def homes_of(checkpoint: str, home: tuple[float, ...], spread: tuple[float, ...]) -> Homes:
    """About `home` (3,) [m] where it is given; else where demonstrations of `checkpoint` began, if it knows; else the playroom's.

    Args:
        spread: half ranges (3,) [m]; empty: the usual ones.

    Raises:
        ParameterError: the checkpoint is damaged, or not there.
    """
    homes = Homes()
    if home:
        x, y, z = home
        homes = Homes(((x, y, z, 0.0),))
    elif checkpoint and (starts := _starts(Path(checkpoint))):
        homes = Homes.demonstrated(starts)
    return dataclasses.replace(homes, spread=tuple(spread)) if spread else homes


def _starts(checkpoint: Path) -> tuple[Place, ...]:
    """Where the demonstrations of a policy began; none where it does not know."""
    path = recovered(checkpoint.expanduser()) / CONFIG
    try:
        plan = json.loads(path.read_text())["config"].get("retry")
        starts = RetryPlan.from_dict(plan).starts if plan else ()
        if not np.isfinite(np.array(starts, float).reshape(-1, 4)).all():
            raise ValueError(f"a place that is not finite: {starts}")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ParameterError(
            f"practice: checkpoint {checkpoint}: expected {CONFIG} of a policy in it, found {type(error).__name__}: {error}; "
            "give it the folder of a trained policy, or set home"
        ) from error
    return starts
