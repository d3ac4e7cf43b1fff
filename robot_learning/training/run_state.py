"""The training state of a run in one safetensors file, so that one rename commits it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

from robot_learning.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

FILE = "training_state.safetensors"


class RunError(UserError, ValueError):
    """A run cannot start or go on."""


def save_state(run: Path, tensors: dict[str, Tensor], progress: dict[str, Any]) -> None:
    """Commit the tensors and, in the file's header, `progress` as JSON (the step, sums since the last log, ...)."""
    from safetensors.torch import save  # torch takes two seconds, which those need not wait who only know `RunError`

    partial = run / f".{FILE}.tmp"
    content = save({k: v.contiguous() for k, v in tensors.items()}, metadata={"progress": json.dumps(progress)})
    with partial.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, run / FILE)


def load_state(run: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """What `save_state` wrote, or None when the run has not saved yet.

    Raises:
        RunError: the file is corrupt.
    """
    path = run / FILE
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (no iterator of its own)
            return tensors, json.loads((file.metadata() or {})["progress"])
    except (SafetensorError, KeyError, ValueError) as error:
        raise RunError(f"{path} is corrupt ({error}); delete it to train the run again from the start") from error


@contextmanager
def state_of(run: Path) -> Iterator[None]:
    """Says in words that what `load_state` gave does not fit what the run's config describes.

    Raises:
        RunError: in the place of the errors that networks, optimisers and dataclasses have for it.
    """
    try:
        yield
    except (KeyError, RuntimeError, TypeError) as error:
        found = (str(error).splitlines() or [type(error).__name__])[0]
        raise RunError(
            f"{run / FILE}: expected the state of the run that {run / 'config.yaml'} describes, found another ({found}). "
            "Put back the config that the run began with, use the version that made it, or begin another run"
        ) from error
