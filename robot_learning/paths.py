"""Where the shared files of this package are: contracts, scenes, launch files and shipped models.

One place finds them from a checkout (also `pip install -e .`), from a pip install (`<prefix>/share/robot_learning`)
and from an ament prefix (`$AMENT_PREFIX_PATH`, after `colcon build` and `source install/setup.bash`).
"""

from __future__ import annotations

import os
import sys
import sysconfig
from pathlib import Path

from robot_learning.errors import UserError

PACKAGE = "robot_learning"


class ShareError(UserError, FileNotFoundError):
    """The shared files of this package are nowhere to be found."""


def share_candidates() -> list[Path]:
    """Every folder that may hold the shared files, best first."""
    checkout = Path(__file__).resolve().parent.parent
    candidates = [checkout] if (checkout / "package.xml").is_file() else []
    prefixes = [Path(p) for p in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if p]
    # <prefix>/lib/pythonX.Y/site-packages/robot_learning/paths.py of a plain or --user or ament install
    prefixes += [parent.parent for parent in Path(__file__).resolve().parents if parent.name in ("lib", "local")]
    prefixes += [Path(sysconfig.get_path("data")), Path(sys.prefix)]
    return candidates + [prefix / "share" / PACKAGE for prefix in prefixes]


def share() -> Path:
    """The folder that holds `config/`, `sim/`, `launch/` and `models/`.

    Raises:
        ShareError: no candidate has them; the message lists where it looked.
    """
    candidates = share_candidates()
    for candidate in candidates:
        if (candidate / "config").is_dir() and (candidate / "sim").is_dir():
            return candidate
    looked = "\n  ".join(str(c) for c in candidates)
    raise ShareError(
        f"the shared files of {PACKAGE} (config/, sim/) are missing; looked in\n  {looked}\n"
        f"Install the package again: pip install . (or source install/setup.bash after colcon build)"
    )


def config(*parts: str) -> Path:
    """A file or folder under `config/`."""
    return share().joinpath("config", *parts)


def sim(*parts: str) -> Path:
    """A file or folder under `sim/`."""
    return share().joinpath("sim", *parts)


def models(*parts: str) -> Path:
    """A file or folder under `models/`."""
    return share().joinpath("models", *parts)
