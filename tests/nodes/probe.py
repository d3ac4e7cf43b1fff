"""A node that does nothing but be one; the tests of the base run it as a process."""

import sys
from dataclasses import dataclass

from robot_learning.errors import UserError
from robot_learning.nodes.base import NodeConfig, RobotNode
from robot_learning.nodes.running import run


@dataclass(frozen=True)
class Config(NodeConfig):
    """What can go wrong on purpose."""

    broken: bool = False
    """Refuse to configure."""


class Probe(RobotNode[Config]):
    """Prints what happens to it."""

    def __init__(self) -> None:
        super().__init__("probe", Config)
        self.trigger_service("greet", self.greet)
        self.on_time_jump(lambda seconds: self.report(b"\1", f"jumped {seconds:+.1f} s"))

    def greet(self) -> str:
        if not self.is_active:
            raise UserError("not active")
        return "hello"

    def do_configure(self) -> None:
        if self.config.broken:
            raise UserError("broken on purpose")

    def do_deactivate(self) -> None:
        print("deactivating", flush=True)


if __name__ == "__main__":
    sys.exit(run(Probe))
