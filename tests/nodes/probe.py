"""A node that does nothing but be one; the tests of the base run it as a process."""

import ctypes
import os
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


def signal_at_the_very_end(number: int) -> None:
    """When the interpreter has gone and the C library ends the process, it sends itself one more signal (glibc's on_exit)."""
    os.setpgrp()
    library = ctypes.CDLL(None)
    library.on_exit(library.kill, ctypes.c_void_p(number))  # called as kill(exit code, number); 0: its process group


if __name__ == "__main__":
    if "LAST_SIGNAL" in os.environ:
        signal_at_the_very_end(int(os.environ["LAST_SIGNAL"]))
    sys.exit(run(Probe))
