"""Where the practice node's episodes begin, by its parameters and by the policy that acts first."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

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


def require_tasks(checkpoint: str, tasks: Sequence[str]) -> None:
    """Check that the policy of `checkpoint`, where one is given, knows the `tasks`; at any other it would only be cut off.

    Raises:
        ParameterError: it does not, is damaged, or not there.
    """
    known = list(_read(Path(checkpoint)).get("tasks", tasks)) if checkpoint else list(tasks)
    lacking = [task for task in tasks if task not in known]
    if lacking:
        raise ParameterError(
            f"practice: tasks, recover: {lacking} are unknown to the policy in {checkpoint}, which knows {known}; leave them "
            "out, or train it on them too"
        )


def _starts(checkpoint: Path) -> tuple[Place, ...]:
    """Where the demonstrations of a policy began; none where it does not know."""
    try:
        plan = _read(checkpoint)["config"].get("retry")
        starts = RetryPlan.from_dict(plan).starts if plan else ()
        if not np.isfinite(np.array(starts, float).reshape(-1, 4)).all():
            raise ValueError(f"a place that is not finite: {starts}")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged(checkpoint, error) from error
    return starts


def _read(checkpoint: Path) -> dict[str, Any]:
    try:
        return dict(json.loads((recovered(checkpoint.expanduser()) / CONFIG).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise _damaged(checkpoint, error) from error


def _damaged(checkpoint: Path, error: Exception) -> ParameterError:
    return ParameterError(
        f"practice: checkpoint {checkpoint}: expected {CONFIG} of a policy in it, found {type(error).__name__}: {error}; "
        "give it the folder of a trained policy, or set home"
    )
