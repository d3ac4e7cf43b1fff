import json
from pathlib import Path

import pytest
import yaml

from robot_learning.commands import contract_check
from robot_learning.contract import Contract, ContractError


def test_a_valid_contract_is_told_with_its_hash(capsys: pytest.CaptureFixture[str]) -> None:
    assert contract_check.run(contract_check.Config("ur5e_2f85", json=True)) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["ok"] and told["hash"] == Contract.load("ur5e_2f85").hash()


def test_a_malformed_contract_names_file_and_field(tmp_path: Path) -> None:
    plain = Contract.load("ur5e_2f85").to_dict()
    plain["joints"]["lower"] = plain["joints"]["lower"][:-1]
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump(plain))
    with pytest.raises(ContractError, match=r"mine.yaml: joints: lower has 5 entries for 6"):
        contract_check.run(contract_check.Config(str(file)))
