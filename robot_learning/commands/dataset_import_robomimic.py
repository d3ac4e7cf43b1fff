"""Import demonstrations from a robomimic HDF5 file.

robot-learning dataset import-robomimic lift.hdf5 --output lift --task "lift the cube"
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro
from rich.console import Console
from rich.progress import track

from robot_learning.contract import Contract
from robot_learning.data import DatasetError
from robot_learning.data.robomimic_import import STATE_KEYS, import_robomimic


@dataclass(frozen=True)
class Config:
    """Flags of `robot-learning dataset import-robomimic`."""

    source: tyro.conf.Positional[Path]
    """The HDF5 file."""
    output: Path
    """Folder of the new dataset."""
    task: str
    """The instruction of all demonstrations, such as "lift the cube"."""
    contract: str | None = None
    """Contract of the robot, a name or a YAML file; built from the file when absent."""
    state_keys: tuple[str, ...] = STATE_KEYS
    """Keys of `obs` that make up observation.state, in order."""
    images: tuple[str, ...] = ()
    """Cameras as key=name, such as agentview_image=front; the known ones that the file has when empty."""


def run(config: Config) -> int:
    """Import and print the count."""
    wrong = [pair for pair in config.images if pair.count("=") != 1]
    if wrong:
        raise DatasetError(f"--images: expected key=name such as agentview_image=front, found {wrong[0]!r}")
    count = import_robomimic(
        config.source,
        config.output,
        config.task,
        Contract.load(config.contract) if config.contract else None,
        config.state_keys,
        dict(pair.split("=") for pair in config.images) if config.images else None,
        lambda items: track(items, "importing demonstrations", transient=True),
    )
    Console(highlight=False, soft_wrap=True).print(f"{config.output}: {count} episodes", markup=False)
    return 0
