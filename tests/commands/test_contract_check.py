import json
import re
import runpy
from pathlib import Path
from typing import Any

import pytest
import yaml

from robot_learning.commands import contract_check
from robot_learning.contract import Contract, ContractError

OWN_ARM = runpy.run_path(str(Path(__file__).parents[1] / "control" / "own_arm.py"))
JOINTS = list(OWN_ARM["JOINTS"])


@pytest.fixture
def plain(tmp_path: Path) -> dict[str, Any]:
    """The contract of an arm of primitives, as plain data."""
    data: dict[str, Any] = OWN_ARM["own_contract"](tmp_path)
    data["observation"]["observation.state"]["names"] = [f"{joint}.pos" for joint in JOINTS]
    return data


def told(plain: dict[str, Any], folder: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, Any]]:
    """Exit code and JSON of `contract check`."""
    file = folder / "mine.yaml"
    file.write_text(yaml.safe_dump(plain))
    code = contract_check.run(contract_check.Config(str(file), json=True))
    return code, json.loads(capsys.readouterr().out)


def test_a_valid_contract_is_told_with_its_hash(capsys: pytest.CaptureFixture[str]) -> None:
    assert contract_check.run(contract_check.Config("ur5e_2f85", json=True)) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["ok"] and found["kinematics_checked"] and found["hash"] == Contract.load("ur5e_2f85").hash()


def test_a_malformed_contract_names_file_and_field(tmp_path: Path) -> None:
    malformed = Contract.load("ur5e_2f85").to_dict()
    malformed["joints"]["lower"] = malformed["joints"]["lower"][:-1]
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump(malformed))
    with pytest.raises(ContractError, match=r"mine.yaml: joints: lower has 5 entries for 6"):
        contract_check.run(contract_check.Config(str(file)))


def changed(part: str, **values: Any) -> Any:
    return lambda plain: plain[part].update(values)


MISTAKES: dict[str, tuple[Any, str]] = {
    "no such file": (changed("simulation", arm="/nope/arm.xml"), "no MJCF file '/nope/arm.xml'"),
    "site": (changed("simulation", tcp_site="grip"), "simulation.tcp_site names 'grip', which .* it has .*'grasp'"),
    "too few actuators": (changed("simulation", arm_actuators=["a1"]), "arm_actuators has 1 entries for 7 joints"),
    "actuator": (
        changed("simulation", arm_actuators=[*(f"a{i}" for i in range(1, 7)), "wrist"]),
        "simulation.arm_actuators names 'wrist', which .* does not have; it has .*'a7'",
    ),
    "joint of the gripper": (changed("simulation", gripper_joint="slide"), "simulation.gripper_joint names 'slide'"),
    "tilted": (changed("joints", home=[0.0] * 7), "at joints.home the z axis .* it is 180 degrees off"),
    "outside": (
        changed("workspace", lower=[5.0, -0.3, -0.1], upper=[5.5, 0.3, 0.4]),
        r"at joints.home the tool is at \[0\.\d+, .*\] m, expected it in the workspace \[5.0, .*change joints.home",
    ),
    "increments": (
        changed("action", names=["dx"], units=["m"], scale=[0.02]),
        "Cartesian control needs 5 action entries .* found \\['dx'\\]",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_what_the_gate_could_not_build_is_told(
    mistake: str, plain: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change, message = MISTAKES[mistake]
    change(plain)
    code, found = told(plain, tmp_path, capsys)
    assert code == 1 and not found["ok"] and len(found["errors"]) == 1
    assert re.search(rf"mine\.yaml: .*{message}", found["errors"][0])


@pytest.mark.parametrize("names", [[*JOINTS[:6], "waist"], [JOINTS[1], JOINTS[0], *JOINTS[2:]]])
def test_joints_that_are_not_the_chain_of_the_mjcf(
    names: list[str], plain: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain["joints"]["names"] = names
    plain["observation"]["observation.state"]["names"] = [f"{joint}.pos" for joint in names]
    code, found = told(plain, tmp_path, capsys)
    assert code == 1 and "joints.names" in found["errors"][0]


def test_every_error_has_a_line(plain: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain["simulation"]["tcp_site"] = "grip"
    plain["observation"]["observation.state"]["names"][0] = "tcp.roll"
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump(plain))
    assert contract_check.run(contract_check.Config(str(file))) == 1
    lines = capsys.readouterr().out.splitlines()
    wrong = [line for line in lines if line.startswith("WRONG")]
    assert len(wrong) == 2 and "'grip'" in wrong[0] and "tcp.roll" in wrong[1]
    assert "is not usable: 2 errors" in lines[-1]


def test_a_file_that_mujoco_cannot_compile_is_told(
    plain: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arm = Path(plain["simulation"]["arm"])
    arm.write_text(arm.read_text().replace('type="box" size="0.04 0.04 0.01"', 'type="mesh" mesh="none"'))
    code, found = told(plain, tmp_path, capsys)
    assert code == 1 and "own_arm.xml" in found["errors"][0]


def test_without_a_simulation_it_says_that_the_kinematics_were_not_checked(
    plain: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    del plain["simulation"]
    code, found = told(plain, tmp_path, capsys)
    assert code == 0 and found["ok"] and not found["kinematics_checked"]
    contract_check.run(contract_check.Config(str(tmp_path / "mine.yaml")))
    assert "not checked  kinematics: the contract has no `simulation` section" in capsys.readouterr().out


def test_an_arm_whose_kinematics_are_right_says_so(
    plain: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert told(plain, tmp_path, capsys)[1]["errors"] == []
    contract_check.run(contract_check.Config(str(tmp_path / "mine.yaml")))
    assert "ok  kinematics: at home the tool points down, inside the workspace" in capsys.readouterr().out
