"""Check a robot's contract, and with --live whether the running robot keeps it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import tyro
from rich.console import Console
from rich.table import Table
from rich.text import Text

from robot_learning.commands.up import require_ros
from robot_learning.contract import Contract

if TYPE_CHECKING:
    from robot_learning.nodes.contract_check import Finding


@dataclass(frozen=True)
class Config:
    """Flags of `robot-learning contract check`."""

    file: tyro.conf.Positional[str]
    """YAML file of the contract, or a name in config/contracts/."""
    live: bool = False
    """Compare it with the topics that are published now."""
    namespace: str = ""
    """With --live: the robot's namespace."""
    use_sim_time: bool = False
    """With --live: the robot is simulated, and its clock is /clock (or /<namespace>/clock)."""
    seconds: float = 3.0
    """With --live: how long to measure rates [s]."""
    json: bool = False
    """Print one JSON object instead of text."""


def run(config: Config) -> int:
    """Print what was found; 0 when all is well, 1 when the running graph differs. A malformed file is an error (2)."""
    contract = Contract.load(config.file)
    findings = _live(contract, config) if config.live else []
    ok = all(finding.ok for finding in findings)
    if config.json:
        listed = [asdict(finding) for finding in findings]
        print(json.dumps({"ok": ok, "contract": contract.name, "hash": contract.hash(), "findings": listed}))
        return 0 if ok else 1
    console = Console(highlight=False)
    console.print(_streams(contract))
    if config.live:
        console.print(_comparison(findings))
    wrong = sum(not finding.ok for finding in findings)
    console.print(
        f"{contract.name} ({contract.hash()}) is valid"
        + (f"; live: {wrong} of {len(findings)} differ" if findings else "")
    )
    return 0 if ok else 1


def _live(contract: Contract, config: Config) -> list[Finding]:
    require_ros()
    from robot_learning.nodes.contract_check import check
    from robot_learning.nodes.listening import listener

    with listener("contract_check", config.namespace, config.use_sim_time) as (node, listen):
        return check(contract, node, listen, config.seconds)


def _streams(contract: Contract) -> Table:
    table = Table("stream", "topic", "type", "shape", "rate [Hz]", "max age [s]")
    for key, stream in contract.observation.items():
        table.add_row(key, stream.topic, stream.type, str(stream.shape), f"{stream.rate:g}", f"{stream.max_age:g}")
    for key, topic, kind in (
        ("action", contract.action.topic, contract.action.type),
        ("gripper", contract.gripper.topic, contract.gripper.type),
    ):
        table.add_row(key, topic, kind, "", f"{contract.rate:g}", "")
    return table


def _comparison(findings: list[Finding]) -> Table:
    table = Table("", "what", "the contract says", "found")
    for finding in findings:
        mark = Text("ok", "green") if finding.ok else Text("DIFFERS", "red")
        table.add_row(mark, finding.subject, Text(finding.expected), Text(finding.found))
    return table
