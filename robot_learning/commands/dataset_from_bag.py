"""Convert ROS 2 bags into a dataset.

robot-learning dataset from-bag recordings/drawer --output drawer_again
robot-learning dataset from-bag my_bag --output drawer --contract ur5e_2f85 --task "open the drawer" --success True
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro
from rich.console import Console

from robot_learning.data import Dataset
from robot_learning.data.bag import Bag
from robot_learning.data.bag_conversion import Conversion, Origins, convert_bag, find_bags, require_one_contract
from robot_learning.data.episode_recorder import open_recorded
from robot_learning.data.mcap import BagError


@dataclass(frozen=True)
class Config:
    """Flags of `robot-learning dataset from-bag`."""

    sources: tyro.conf.Positional[tuple[Path, ...]]
    """Bags, one episode each; a dataset of the recorder stands for the bags of its episodes."""
    output: Path
    """Folder of the dataset; it is made, or appended to. Bags that are in it already are skipped."""
    contract: str | None = None
    """Contract of the robot, a name or a YAML file; the recorder's bags bring their own, which must be the same in all."""
    task: str = ""
    """The instruction, for bags without a `task` topic."""
    success: bool | None = None
    """The outcome, for bags without a `success` topic."""
    namespace: str = ""
    """Namespace of the robot, in bags that hold several."""


def run(config: Config) -> int:
    """Convert and print a line for each bag; 1 where one could not be converted, which stops no other."""
    console, errors = (Console(highlight=False, soft_wrap=True, stderr=stderr) for stderr in (False, True))
    paths = [path for source in config.sources for path in find_bags(source)]
    if not paths:
        raise BagError("expected at least one bag, found none; give their folders")
    bags, failed = list[Bag](), list[Path]()

    def fail(path: Path, error: Exception) -> None:
        errors.print(f"not converted: {error}", markup=False)
        failed.append(path)

    for path in paths:
        try:
            bags.append(Bag(path))
        except BagError as error:
            fail(path, error)
    if bags:
        contract = require_one_contract(bags, config.contract or "")
        with open_recorded(config.output, contract) as writer:
            origins = Origins(Dataset(config.output))
            for bag in bags:
                known = origins.episode_of(bag)
                if known is not None:
                    console.print(
                        f"{bag.path}: skipped, it is episode {known} of {config.output} already", markup=False
                    )
                    continue
                try:
                    done = convert_bag(bag, writer, contract, config.task, config.success, config.namespace)
                except BagError as error:
                    fail(bag.path, error)
                    continue
                origins.add(done)
                console.print(f"{bag.path}: {_summary(done)}", markup=False)
    if failed:
        errors.print(f"{len(failed)} of {len(paths)} bags could not be converted", markup=False)
    return int(bool(failed))


def _summary(done: Conversion) -> str:
    text = f"episode {done.episode}, {done.frames} frames, actions from the {done.actions}"
    if done.info["skipped_ticks"]:
        text += f", {done.info['skipped_ticks']} ticks without all streams"
    if done.clipped:
        text += f", {done.clipped} actions larger than the contract's scale were cut"
    return text
