"""Check a robot's contract and its kinematics, and with --live whether the running robot keeps it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import tyro
from rich.console import Console
from rich.table import Table
from rich.text import Text

from robot_learning.commands.up import require_ros
from robot_learning.contract import Contract
from robot_learning.errors import UserError

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


UNCHECKED = "the contract has no `simulation` section, which names the robot's MJCF; the safety gate needs it, too"


def run(config: Config) -> int:
    """Print what was found; 0 when all is well, 1 when the kinematics are wrong or the running graph differs.

    A malformed file is an error (2).
    """
    contract = Contract.load(config.file)
    errors = [f"{config.file}: {error}" for error in model_errors(contract)] if contract.simulation else []
    findings = _live(contract, config) if config.live else []
    ok = not errors and all(finding.ok for finding in findings)
    if config.json:
        listed = [asdict(finding) for finding in findings]
        checked = {"kinematics_checked": contract.simulation is not None, "errors": errors}
        told = {"ok": ok, "contract": contract.name, "hash": contract.hash(), **checked, "findings": listed}
        print(json.dumps(told))
        return 0 if ok else 1
    console = Console(highlight=False)
    console.print(_streams(contract))
    for line in _kinematics(contract, errors):
        console.print(line, soft_wrap=True)
    if config.live:
        console.print(_comparison(findings))
    wrong = sum(not finding.ok for finding in findings)
    console.print(
        f"{contract.name} ({contract.hash()}) is "
        + (f"not usable: {len(errors)} {'error' if len(errors) == 1 else 'errors'}" if errors else "valid")
        + (f"; live: {wrong} of {len(findings)} differ" if findings else "")
    )
    return 0 if ok else 1


def model_errors(contract: Contract) -> list[str]:
    """What keeps the simulation or the safety gate from building this robot, a line each; none when all is well."""
    from robot_learning.control.cartesian import CartesianController  # imports MuJoCo
    from robot_learning.control.kinematics import Kinematics
    from robot_learning.control.proprioception import Proprioception

    errors: list[str] = []

    def built(build: Callable[[], Any]) -> Any:
        try:
            return build()
        except UserError as error:
            errors.append(str(error))
        except ValueError as error:  # MuJoCo's, of a file that it reads and then cannot make a model of
            arm = contract.simulation.arm if contract.simulation else ""
            errors.append(f"simulation.arm: MuJoCo cannot build {arm!r}: {error}; mend the MJCF")
        return None

    kinematics = built(lambda: Kinematics(contract))
    built(lambda: CartesianController(contract, kinematics))
    built(lambda: Proprioception(contract, kinematics))
    if kinematics is not None:
        tool, box = kinematics.forward(contract.joints.home).position, contract.workspace
        if not all(low <= x <= high for low, x, high in zip(box.lower, tool, box.upper, strict=True)):
            errors.append(
                f"contract {contract.name!r}: at joints.home the tool is at {[round(float(x), 3) for x in tool]} m, "
                f"expected it in the workspace {list(box.lower)} to {list(box.upper)} m; change joints.home or workspace"
            )
    return list(dict.fromkeys(errors))  # without kinematics the others say the same again


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


def _kinematics(contract: Contract, errors: list[str]) -> list[Text]:
    if contract.simulation is None:
        return [Text.assemble(("not checked", "yellow"), f"  kinematics: {UNCHECKED}")]
    if not errors:
        return [Text.assemble(("ok", "green"), "  kinematics: at home the tool points down, inside the workspace")]
    return [Text.assemble(("WRONG", "red"), f"  {error}") for error in errors]


def _comparison(findings: list[Finding]) -> Table:
    table = Table("", "what", "the contract says", "found")
    for finding in findings:
        mark = Text("ok", "green") if finding.ok else Text("DIFFERS", "red")
        table.add_row(mark, finding.subject, Text(finding.expected), Text(finding.found))
    return table
