"""Where the MJCF file behind a name in a contract is."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from robot_learning.errors import UserError

OGBENCH_FOLDER = "manipspace/descriptions"


class AssetError(UserError, FileNotFoundError):
    """The MJCF file of a robot cannot be found."""


def mjcf_path(name: str) -> Path:
    """The MJCF file that a contract names.

    Args:
        name: `wheel:<python package>:<file inside it>`, `ogbench:<file>` (short for the robots in the ogbench wheel),
            `menagerie:<robot>` (MuJoCo Menagerie, downloaded on first use), or the path of an MJCF file.

    Raises:
        AssetError: the file, or the Python package that holds it, is not there; says how to get it.
    """
    scheme, _, rest = name.partition(":")
    if scheme == "ogbench":
        return _in_wheel("ogbench", f"{OGBENCH_FOLDER}/{rest}", name)
    if scheme == "wheel":
        package, _, file = rest.partition(":")
        return _in_wheel(package, file, name)
    if scheme == "menagerie":
        return _in_menagerie(rest, name)
    path = Path(name).expanduser()
    if not path.is_file():
        raise AssetError(
            f"no MJCF file {name!r} (looked for {path.absolute()}); give the path of an MJCF file, "
            f"ogbench:<file>, wheel:<python package>:<file> or menagerie:<robot>"
        )
    return path


def _in_wheel(package: str, file: str, name: str) -> Path:
    # find_spec of a top-level package locates it without importing it (ogbench would import its environments).
    if not package.isidentifier():
        raise AssetError(f"{name!r}: expected wheel:<python package>:<file>, found package {package!r}")
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        # without what it asks for, which we do not use and which cannot be installed everywhere (docs/install.md)
        option = "--no-deps " if package == "ogbench" else ""
        raise AssetError(
            f"{name!r} needs the Python package {package!r}, which is not installed: pip install {option}{package}"
        )
    roots = [Path(root) for root in spec.submodule_search_locations]
    for root in roots:
        if (root / file).is_file():
            return root / file
    raise AssetError(f"{name!r}: there is no file {file!r} in {roots[0]}; check the name and the version of {package}")


def _in_menagerie(robot: str, name: str) -> Path:
    if importlib.util.find_spec("mujoco_menagerie") is None:
        raise AssetError(
            f"{name!r} needs the Python package mujoco-menagerie: pip install mujoco-menagerie "
            f"(it downloads {robot!r} from the internet on first use)"
        )
    import mujoco_menagerie

    try:
        return Path(mujoco_menagerie.get(robot).path())
    except Exception as error:  # an unknown name, no network, or a broken download: all are the user's to mend
        raise AssetError(
            f"{name!r}: MuJoCo Menagerie could not provide {robot!r} ({type(error).__name__}: {error}); "
            f"check the robot's name, and that this machine reaches the internet"
        ) from error
