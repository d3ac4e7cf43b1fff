"""Convert ROS 2 bags into a dataset.

robot-learning dataset from-bag recordings/drawer --output drawer_again
robot-learning dataset from-bag my_bag --output drawer --contract ur5e_2f85 --task "open the drawer" --success True
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro
from rich.console import Console

from robot_learning.contract import Contract
from robot_learning.data.bag import Bag
from robot_learning.data.bag_conversion import Conversion, bag_contract, convert_bag, find_bags
from robot_learning.data.episode_recorder import open_recorded
from robot_learning.data.mcap import BagError


@dataclass(frozen=True)
class Config:
    """Flags of `robot-learning dataset from-bag`."""

    sources: tyro.conf.Positional[tuple[Path, ...]]
    """Bags, one episode each; a dataset of the recorder stands for the bags of its episodes."""
    output: Path
    """Folder of the dataset; it is made, or appended to."""
    contract: str | None = None
    """Contract of the robot, a name or a YAML file; the recorder's bags bring their own."""
    task: str = ""
    """The instruction, for bags without a `task` topic."""
    success: bool | None = None
    """The outcome, for bags without a `success` topic."""
    namespace: str = ""
    """Namespace of the robot, in bags that hold several."""


def run(config: Config) -> int:
    """Convert and print a line for each bag."""
    console = Console(highlight=False, soft_wrap=True)
    paths = [path for source in config.sources for path in find_bags(source)]
    if not paths:
        raise BagError("expected at least one bag, found none; give their folders")
    bags = [Bag(path) for path in paths]
    own = bag_contract(bags[0])
    contract = Contract.load(config.contract) if config.contract else own
    if contract is None:
        raise BagError(
            f"{bags[0].path}: expected a bag with a contract in it, found none; give --contract NAME or FILE"
        )
    with open_recorded(config.output, contract) as writer:
        for bag in bags:
            done = convert_bag(bag, writer, contract, config.task, config.success, config.namespace)
            console.print(f"{bag.path}: {_summary(done)}", markup=False)
    return 0


def _summary(done: Conversion) -> str:
    text = f"episode {done.episode}, {done.frames} frames, actions from the {done.actions}"
    if done.info["skipped_ticks"]:
        text += f", {done.info['skipped_ticks']} ticks without all streams"
    if done.clipped:
        text += f", {done.clipped} actions larger than the contract's scale were cut"
    return text
