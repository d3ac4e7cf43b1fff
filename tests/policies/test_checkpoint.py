import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from robot_learning import folders
from robot_learning.contract import Contract, ContractError
from robot_learning.policies import (
    Checkpoint,
    CheckpointError,
    Policy,
    StatisticsError,
    load_policy,
    read_checkpoint,
    save_checkpoint,
)


@pytest.fixture
def saved(checkpoint: Checkpoint, tmp_path: Path) -> Path:
    return save_checkpoint(tmp_path / "policy", checkpoint)


def test_everything_comes_back(saved: Path, checkpoint: Checkpoint) -> None:
    found = read_checkpoint(saved)
    assert dataclasses.replace(found, weights={}) == dataclasses.replace(checkpoint, weights={}, config=found.config)
    assert all(torch.equal(found.weights[key], value) for key, value in checkpoint.weights.items())


def test_a_loaded_policy_acts(saved: Path, observation: dict[str, np.ndarray]) -> None:
    policy = load_policy(saved)
    assert isinstance(policy, Policy)
    assert policy.predict(observation, "open the drawer").shape == (5,)


def test_a_robot_with_more_streams_is_served(saved: Path) -> None:
    load_policy(saved, contract=Contract.load("ur5e_2f85").with_image_size(24, 20))


def test_another_contract_is_refused_with_both_sides(saved: Path) -> None:
    with pytest.raises(ContractError, match=r"rate: 5\.0 here, 10\.0 there"):
        load_policy(saved, dataclasses.replace(Contract.load("ur5e_2f85").with_image_size(24, 20), rate=5.0))


def test_another_image_size_is_refused(saved: Path) -> None:
    with pytest.raises(ContractError, match=r"images.front/shape: \[96, 96, 3\] here, \[24, 20, 3\] there"):
        load_policy(saved, Contract.load("ur5e_2f85"))


@pytest.mark.parametrize("name", ["config.json", "contract.yaml", "statistics.json", "weights.safetensors"])
def test_a_missing_file_is_named(saved: Path, name: str) -> None:
    (saved / name).unlink()
    with pytest.raises(CheckpointError, match=name):
        load_policy(saved)


@pytest.mark.parametrize("name", ["config.json", "statistics.json", "weights.safetensors"])
def test_a_truncated_file_is_named(saved: Path, name: str) -> None:
    content = (saved / name).read_bytes()
    (saved / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(CheckpointError, match=name):
        load_policy(saved)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="does not exist"):
        load_policy(tmp_path / "nothing")


def test_weights_of_another_network_are_refused(saved: Path, checkpoint: Checkpoint) -> None:
    config = {**checkpoint.config, "network": {**checkpoint.config["network"], "hidden": [8]}}
    save_checkpoint(saved, dataclasses.replace(checkpoint, config=config))
    with pytest.raises(CheckpointError, match="do not fit"):
        load_policy(saved)


def test_statistics_that_are_not_finite_are_refused(saved: Path, checkpoint: Checkpoint) -> None:
    statistics = {**checkpoint.statistics, "action": {"mean": [0.0] * 5, "scale": [float("nan")] * 5}}
    save_checkpoint(saved, dataclasses.replace(checkpoint, statistics=statistics))
    with pytest.raises(StatisticsError, match="action"):
        load_policy(saved)


def test_another_format_is_refused(saved: Path) -> None:
    config = json.loads((saved / "config.json").read_text())
    (saved / "config.json").write_text(json.dumps({**config, "format": 99}))
    with pytest.raises(CheckpointError, match="format 99"):
        load_policy(saved)


def test_an_unknown_kind_lists_the_known_ones(saved: Path, checkpoint: Checkpoint) -> None:
    save_checkpoint(saved, dataclasses.replace(checkpoint, policy="oracle"))
    with pytest.raises(CheckpointError, match="chunk"):
        load_policy(saved)


def test_a_crash_while_writing_leaves_the_old_checkpoint(
    saved: Path, checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*args: object) -> None:
        raise OSError("power cut")

    monkeypatch.setattr(folders.os, "fsync", crash)
    with pytest.raises(OSError, match="power cut"):
        save_checkpoint(saved, dataclasses.replace(checkpoint, facts={"Steps": 20}))
    assert read_checkpoint(saved).facts == {"Steps": 10}


def test_a_crash_between_the_two_renames_leaves_the_old_checkpoint(saved: Path) -> None:
    saved.rename(saved.with_name(f".{saved.name}.previous"))
    assert read_checkpoint(saved).facts == {"Steps": 10}


def test_saving_again_replaces_and_leaves_no_rest(saved: Path, checkpoint: Checkpoint) -> None:
    save_checkpoint(saved, dataclasses.replace(checkpoint, facts={"Steps": 20}))
    assert read_checkpoint(saved).facts == {"Steps": 20}
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]


def test_the_model_card_names_tasks_data_and_robot(saved: Path) -> None:
    card = (saved / "README.md").read_text()
    assert all(
        words in card for words in ("- open the drawer", "| Steps | 10 |", "ur5e_2f85", "observation.images.front")
    )


def test_the_model_card_tells_the_success(saved: Path, checkpoint: Checkpoint) -> None:
    save_checkpoint(saved, dataclasses.replace(checkpoint, success=["open_drawer: 9 of 10"]))
    assert "- open_drawer: 9 of 10" in (saved / "README.md").read_text()
