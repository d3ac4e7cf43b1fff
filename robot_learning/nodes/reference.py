"""The parameter tables of docs/nodes.md, made from the nodes' Config dataclasses: `python -m robot_learning.nodes.reference`."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path

from robot_learning.nodes import parameters
from robot_learning.nodes.base import NodeConfig
from robot_learning.nodes.graphs import GRAPHS, Graph

BEGIN, END = "<!-- {} -->", "<!-- end -->"


def node_configs() -> dict[str, type[NodeConfig]]:
    """The Config of every module of this folder that is a node, by the node's name."""
    found = {}
    for file in sorted(Path(__file__).parent.glob("*.py")):
        if "def main(" not in file.read_text(encoding="utf-8") or file.stem in ("reference", "base"):
            continue
        module = importlib.import_module(f"robot_learning.nodes.{file.stem}")
        found[file.stem] = module.Config
    return found


def parameter_table(config_type: type, shared: bool = False) -> str:
    """A Markdown table of a node's own parameters; `shared`: those of NodeConfig, which every node has."""
    common = {spec.name for spec in parameters.specs(NodeConfig)}
    lines = ["| parameter | type | default | |", "|---|---|---|---|"]
    for spec in parameters.specs(config_type):
        if shared or spec.name not in common:
            default = list(spec.default) if isinstance(spec.default, tuple) else spec.default
            shown = str(default).lower() if isinstance(default, bool) else f"{default!r}".replace("'", "")
            text = spec.description.replace("|", r"\|")
            lines.append(f"| `{spec.name}` | {spec.type_name} | {f'`{shown}`' if shown else 'empty'} | {text} |")
    return "\n".join(lines)


def argument_table(graph: Graph) -> str:
    """A Markdown table of a graph's arguments."""
    lines = ["| argument | default | |", "|---|---|---|"]
    for argument in graph.arguments:
        default = "**must be given**" if argument.default is None else f"`{argument.default}`"
        choices = f" ({', '.join(argument.choices)})" if argument.choices else ""
        lines.append(
            f"| `{argument.name}` | {default if default != '``' else 'empty'} | {argument.description}{choices} |"
        )
    return "\n".join(lines)


def sections() -> dict[str, str]:
    """Everything that is generated, by the name in its marker."""
    tables = {"parameters of every node": parameter_table(NodeConfig, shared=True)}
    tables |= {f"parameters of {name}": parameter_table(config) for name, config in node_configs().items()}
    return tables | {f"arguments of {name}": argument_table(graph) for name, graph in GRAPHS.items()}


def section(text: str, name: str) -> str | None:
    """What stands between the markers of a section in `text`; None when there is no such section."""
    found = re.search(re.escape(BEGIN.format(name)) + r"\n(.*?)\n?" + re.escape(END), text, re.DOTALL)
    return found[1] if found else None


def refreshed(text: str) -> str:
    """`text` with every generated section as it should be."""
    for name, content in sections().items():
        pattern = re.compile(f"({re.escape(BEGIN.format(name))}\n).*?({re.escape(END)})", re.DOTALL)
        text = pattern.sub(lambda match, new=content: f"{match[1]}{new}\n{match[2]}", text)  # type: ignore[misc]
    return text


def refresh(file: Path) -> int:
    """Rewrite the sections of a Markdown file."""
    file.write_text(refreshed(file.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(refresh(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/nodes.md")))
