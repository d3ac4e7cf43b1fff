"""Work that is killed between two of its steps."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


class Killed(BaseException):
    """Stands for the end of the process: nobody handles it."""


@contextmanager
def killed_at_rename(step: int) -> Iterator[list[int]]:
    """What is inside ends in front of its rename number `step`; the list stays empty when it has fewer."""
    rename, killed, count = os.replace, list[int](), 0

    def replace(source: Path, target: Path) -> None:
        nonlocal count
        count += 1
        if count == step:
            raise KeyboardInterrupt
        rename(source, target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "replace", replace)
        try:
            yield killed
        except KeyboardInterrupt:
            killed.append(step)
