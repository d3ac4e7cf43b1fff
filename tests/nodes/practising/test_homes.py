"""Where the practice node's episodes begin."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from robot_learning.contract import Contract
from robot_learning.control.homing import NEAR, SPREAD
from robot_learning.nodes.parameters import ParameterError
from robot_learning.nodes.practising.homes import homes_of, require_tasks
from robot_learning.policies import Checkpoint, save_checkpoint

PLAN = {"ticks": {"open the drawer": 50}, "starts": [[0.5, 0.1, 0.2, 0.3], [0.4, -0.1, 0.25, -0.3]]}


def saved(folder: Path, retry: dict | None) -> str:
    """A checkpoint that knows, or does not know, where its demonstrations began."""
    weights = {"weight": torch.zeros(1)}
    made = Checkpoint("chunk", ["open the drawer"], {"retry": retry}, Contract.load("ur5e_2f85"), {}, weights)
    return str(save_checkpoint(folder / "policy", made))


def test_they_begin_where_the_demonstrations_of_the_policy_did(tmp_path: Path) -> None:
    homes = homes_of(saved(tmp_path, PLAN), (), ())
    assert homes.places == tuple(map(tuple, PLAN["starts"])) and homes.spread == NEAR


def test_a_home_of_ones_own_comes_first(tmp_path: Path) -> None:
    homes = homes_of(saved(tmp_path, PLAN), (0.3, 0.1, 0.3), ())
    assert homes.places == ((0.3, 0.1, 0.3, 0.0),) and homes.spread == SPREAD


def test_a_policy_that_does_not_know_begins_about_the_usual_place(tmp_path: Path) -> None:
    assert homes_of(saved(tmp_path, None), (), ()) == homes_of("", (), ())


def test_the_spread_is_as_asked_for(tmp_path: Path) -> None:
    assert homes_of(saved(tmp_path, PLAN), (), (0.01, 0.0, 0.0)).spread == (0.01, 0.0, 0.0)


def test_a_policy_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match=r"gone: expected config.json of a policy.*set home"):
        homes_of(str(tmp_path / "gone"), (), ())


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("{", "JSONDecodeError"),
        ("[]", "KeyError: 'config'"),
        ("null", "TypeError"),
        ('{"config": {"retry": {"ticks": {}}}}', "KeyError: 'starts'"),
        ('{"config": {"retry": {"ticks": {}, "starts": [[0.4, NaN, 0.2, 0.0]]}}}', "not finite"),
        ('{"config": {"retry": {"ticks": {}, "starts": [[0.4, 0.2]]}}}', "ValueError"),
    ],
)
def test_a_policy_that_is_damaged_is_told(tmp_path: Path, text: str, found: str) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ParameterError, match=found):
        homes_of(str(tmp_path), (), ())


def test_tasks_that_the_policy_does_not_know_are_told(tmp_path: Path) -> None:
    policy = saved(tmp_path, PLAN)
    require_tasks(policy, ["open the drawer"])
    with pytest.raises(ParameterError, match=r"\['close the drawer'\].*knows \['open the drawer'\]"):
        require_tasks(policy, ["open the drawer", "close the drawer"])


def test_without_a_policy_nothing_is_said_of_tasks() -> None:
    require_tasks("", ["fly to the moon"])
