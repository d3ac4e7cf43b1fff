import dataclasses
from pathlib import Path

import pytest

from robot_learning.algorithms.cloning_config import BehaviourCloningConfig
from robot_learning.policies import Blending
from robot_learning.training.config import TrainConfig, not_in_force, read_config, read_plain, save_plain, write_config
from robot_learning.training.practice_env import Autonomy, RobotAccess
from robot_learning.training.rl_config import read_rl_config
from robot_learning.training.run_state import RunError
from robot_learning.training.self_imitation_run import SelfImitationRun


def test_every_field_comes_back(tmp_path: Path) -> None:
    recipe = BehaviourCloningConfig(channels=(4, 8, 8), ignore=(), blending=Blending(every=2, limit=3))
    config = TrainConfig(dataset="d", run="r", tasks=("a", "b"), time_limit=12.5, bc=recipe)
    write_config(tmp_path, config)
    assert read_config(tmp_path) == config


@pytest.mark.parametrize("content", [b"", b"- 1", b"a: [1,", b"\xff\xfe\x00"])
def test_a_config_that_is_no_yaml_mapping_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "config.yaml").write_bytes(content)
    with pytest.raises(RunError, match=r"config\.yaml is not a training config"):
        read_plain(tmp_path)


def test_a_run_of_another_kind_is_named(tmp_path: Path) -> None:
    write_config(tmp_path, TrainConfig())
    with pytest.raises(RunError, match=r"expected the algorithm to be one of .*'cal_ql', 'iql', 'rlpd'.*, found 'bc'"):
        read_rl_config(tmp_path)


def test_a_folder_without_config_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="not a training run"):
        read_config(tmp_path)


def test_an_unknown_field_is_named_with_the_valid_ones(tmp_path: Path) -> None:
    write_config(tmp_path, dataclasses.replace(TrainConfig(), dataset="d"))
    path = tmp_path / "config.yaml"
    path.write_text(path.read_text().replace("seed: 0", "sead: 0"))
    with pytest.raises(RunError, match=r"sead.*'seed'"):
        read_config(tmp_path)


@pytest.mark.parametrize("text", ["", "[1, 2]", "{", "steps: [3"])
def test_a_malformed_config_is_a_clear_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(RunError, match=r"config\.yaml"):
        read_config(tmp_path)


def test_given_flags_that_the_run_has_otherwise_are_named(tmp_path: Path) -> None:
    save_plain(tmp_path, SelfImitationRun(online_steps=30, autonomy=Autonomy(furniture=4)))
    asked = SelfImitationRun(
        online_steps=40, robot=RobotAccess(reset_service="home"), tasks=("a", "b"), seed=0, threads=3
    )
    given = {"online_steps", "robot.reset_service", "tasks", "furniture", "seed"}
    assert sorted(not_in_force(asked, read_plain(tmp_path), given)) == [
        "given furniture none, the run goes on with its own 4",
        "given online-steps 40, the run goes on with its own 30",
        "given robot.reset-service home, the run goes on with its own none",
        "given tasks a b, the run goes on with its own open_drawer",
    ]
