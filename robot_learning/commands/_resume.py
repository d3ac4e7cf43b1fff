"""`--resume` on the command line: there must be a run to go on with, and flags that its config.yaml overrides are named."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from robot_learning.training.config import FILE, not_in_force, read_plain
from robot_learning.training.pausing import tell
from robot_learning.training.run_state import RunError


def require_begun(run: str | Path, algorithm: str = "") -> dict[str, Any]:
    """What the config.yaml of the run to go on with holds.

    Raises:
        RunError: there is no such run, or it is one of another algorithm than that which is given.
    """
    folder = Path(run)
    if not (folder / FILE).is_file():
        found = f"no {FILE} in it" if folder.is_dir() else "no such folder"
        raise RunError(
            f"--resume: expected the folder of a run to go on with, found {found}: {folder}. Check --run, or leave out --resume "
            "to begin a run there"
        )
    own = read_plain(folder)
    kept = own.get("algorithm")
    if algorithm not in ("", kept):
        raise RunError(
            f"--resume: expected a run of {algorithm}, found one of {kept}: {folder}. Go on with it as what it is "
            f"(robot-learning train {kept} --run {folder} --resume), or choose another folder (--run)"
        )
    return own


def tell_not_in_force(config: Any, own: dict[str, Any], given: Collection[str]) -> None:
    """Name, in one line, the flags among `given` to which the run `own` prefers settings of its own."""
    found = not_in_force(config, own, set(given) - {"run"})
    if found:
        tell(f"Not in force: {'; '.join(found)}.")
