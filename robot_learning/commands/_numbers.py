"""Numbers on the command line that make sense."""

from __future__ import annotations

from robot_learning.errors import UserError


class NumberError(UserError, ValueError):
    """A number was given that nothing can be done with."""


def require_more_than(flag: str, found: float, bound: float) -> None:
    """Check the number given with `flag`.

    Raises:
        NumberError: it is not more than `bound`.
    """
    if not found > bound:
        raise NumberError(f"{flag}: expected more than {bound}, found {found}")


def require_at_least(flag: str, found: float, least: int) -> None:
    """Check the number given with `flag`.

    Raises:
        NumberError: it is less than `least`.
    """
    if not found >= least:
        raise NumberError(f"{flag}: expected {least} or more, found {found}")
