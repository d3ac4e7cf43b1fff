"""Folders of files that are replaced as a whole: a reader finds the old ones or the new ones, whatever happened to the writer."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

LAST = "checkpoints/last"  # of a run: its newest policy


def write_folder(path: Path, files: Mapping[str, bytes]) -> None:
    """Put `files`, by name, in the place of the folder `path` once all of them are on the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh, previous = _sibling(path, "new"), _sibling(path, "previous")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir()
    for name, content in files.items():
        with open(fresh / name, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    # two renames, as no portable call swaps folders; `recovered` mends a crash between them
    if path.exists():
        shutil.rmtree(previous, ignore_errors=True)
        os.rename(path, previous)
    os.rename(fresh, path)
    shutil.rmtree(previous, ignore_errors=True)


def recovered(path: Path) -> Path:
    """Where the files of the folder `path` are: the former ones, if its writer died before the new ones took their place."""
    previous = _sibling(path, "previous")
    return previous if not path.exists() and previous.is_dir() else path


def checkpoint_at(path: Path) -> Path:
    """The checkpoint that a path names: itself, or the last one of the run that is there."""
    return path / LAST if recovered(path / LAST).is_dir() else path


def _sibling(path: Path, word: str) -> Path:
    return path.with_name(f".{path.name}.{word}")
