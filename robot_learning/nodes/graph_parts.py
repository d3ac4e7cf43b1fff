"""What a graph of nodes is made of: its arguments, the processes they lead to, and what a person gave."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from robot_learning.errors import UserError

Value = bool | int | float | str | list[str]
Values = Mapping[str, str]  # argument -> what was given or its default


class GraphError(UserError, ValueError):
    """There is no such graph or argument, or an argument has a value it cannot have."""


@dataclass(frozen=True)
class Argument:
    """Something a person may choose: `name:=value`. Without a default it must be given; `choices` are all valid values."""

    name: str
    description: str
    default: str | None = ""
    choices: tuple[str, ...] = ()

    def check(self, value: str) -> str:
        """The value (`GraphError` when it is not one of the choices)."""
        if self.choices and value not in self.choices:
            raise GraphError(f"{self.name}:={value}: expected one of {list(self.choices)}")
        return value


@dataclass(frozen=True)
class Process:
    """One node in a process of its own.

    Attributes:
        executable: name of the module in `robot_learning.nodes`, and of the file in `lib/robot_learning`.
        name: of the node; parameter files and topics below `~` go by it.
        parameters: by name, after those of `parameter_files`; later ones win.
        required: when it ends, everything stops; without the others the robot holds where it needs them, and the graph goes on.
        terminal: it reads the keyboard of the terminal.
        respawn: when it ends, however, it is started again (`Respawns` says how soon and how often).
    """

    executable: str
    name: str
    parameters: dict[str, Value] = field(default_factory=dict)
    parameter_files: tuple[str, ...] = ()
    remappings: tuple[tuple[str, str], ...] = ()
    required: bool = False
    terminal: bool = False
    log_level: str = "info"
    respawn: bool = False


@dataclass(frozen=True)
class Graph:
    """Some nodes that run together, and their arguments."""

    name: str
    description: str
    arguments: tuple[Argument, ...]
    nodes: Callable[[Values], list[Process]]

    def values(self, given: Mapping[str, str]) -> dict[str, str]:
        """Every argument with its value.

        Raises:
            GraphError: an argument is unknown, missing, or has a value it cannot have.
        """
        known = {argument.name: argument for argument in self.arguments}
        for name in given:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                hint = f"; did you mean {near[0]}?" if near else ""
                raise GraphError(f"{self.name} has no argument {name!r}{hint}\nvalid arguments: {', '.join(known)}")
        missing = [a.name for a in self.arguments if a.default is None and not given.get(a.name)]
        if missing:
            lines = "\n".join(f"  {name}:=...   {known[name].description}" for name in missing)
            raise GraphError(f"{self.name} needs a value for\n{lines}")
        return {name: a.check(given.get(name, a.default or "")) for name, a in known.items()}

    def processes(self, given: Mapping[str, str]) -> list[Process]:
        """What to start for these arguments (`GraphError`, `ContractError`)."""
        return self.nodes(self.values(given))


def read_arguments(words: Sequence[str]) -> dict[str, str]:
    """`["task:=open_drawer"]` as a mapping (`GraphError`)."""
    given = {}
    for word in words:
        name, separator, value = word.partition(":=")
        if not separator or not name:
            raise GraphError(f"expected name:=value, found {word!r}")
        given[name] = value
    return given
