"""Settings that make no sense are refused where they are given, by their name, and not in the middle of a training."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any

from robot_learning.errors import UserError


class SettingError(UserError, ValueError):
    """A setting has a value that nothing can be done with."""


def at_least(name: str, found: float, least: float) -> None:
    """Check a number (`SettingError`: it is less than `least`, or not a number)."""
    if not found >= least:
        raise SettingError(f"{name}: expected {least} or more, found {found}")


def more_than(name: str, found: float, bound: float) -> None:
    """Check a number (`SettingError`: it is not more than `bound`)."""
    if not found > bound:
        raise SettingError(f"{name}: expected more than {bound}, found {found}")


def require_at_least(config: Any, least: float, *names: str) -> None:
    """Check numbers of `config`, or all in a tuple of them.

    Raises:
        SettingError: one is less, or not a number.
    """
    for name in names:
        found = getattr(config, name)
        if not all(number >= least for number in (found if isinstance(found, tuple) else (found,))):
            raise SettingError(f"{name}: expected {least} or more, found {found}")


def require_more_than(config: Any, bound: float, *names: str) -> None:
    """Check numbers of `config` (`SettingError`: one is not more than `bound`)."""
    for name in names:
        more_than(name, getattr(config, name), bound)


def require_finite(config: Any, *names: str) -> None:
    """Check numbers of `config` (`SettingError`: one is infinite, or not a number)."""
    for name in names:
        if not math.isfinite(getattr(config, name)):
            raise SettingError(f"{name}: expected a finite number, found {getattr(config, name)}")


def require_shares(config: Any, *names: str) -> None:
    """Check numbers of `config` (`SettingError`: one is not within 0 to 1)."""
    for name in names:
        if not 0.0 <= getattr(config, name) <= 1.0:
            raise SettingError(f"{name}: expected 0 to 1, found {getattr(config, name)}")


def require_ranges(config: Any, *names: str) -> None:
    """Check ranges of `config`, where they are given (`SettingError`: the first number is not less than the second)."""
    for name in names:
        low, high = getattr(config, name) or (-math.inf, math.inf)
        if not low < high:
            raise SettingError(f"{name}: expected a lower and a higher number, found {low} and {high}")


def require_choice(config: Any, name: str, valid: Collection[str]) -> None:
    """Check a word of `config` (`SettingError`: it is none of the `valid` ones)."""
    if getattr(config, name) not in valid:
        raise SettingError(f"unknown {name} {getattr(config, name)!r}; valid: {list(valid)}")


def require_some(config: Any, *names: str) -> None:
    """Check tuples of `config` (`SettingError`: one is empty)."""
    for name in names:
        if not getattr(config, name):
            raise SettingError(f"{name}: expected at least one, found none")


def require_convolutions(config: Any) -> None:
    """Check the layers of a CNN and the crop it looks at (`SettingError`)."""
    layers = [len(getattr(config, name)) for name in ("channels", "kernels", "strides")]
    if not 2 <= layers[0] == layers[1] == layers[2]:
        raise SettingError(
            "channels, kernels and strides: expected one of each for every convolution, and two or more convolutions, found "
            f"{config.channels}, {config.kernels} and {config.strides}"
        )
    require_at_least(config, 1, "channels", "kernels", "strides")
    require_more_than(config, 0, "crop")
    require_shares(config, "crop")
