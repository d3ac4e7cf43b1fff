"""The environment that a run practises in."""

import pytest

from robot_learning.training.practice_env import PLAYROOM, Autonomy, RobotAccess, make_practice_env
from robot_learning.training.run_state import RunError


def test_the_furniture_stands_at_its_desk_with_resets_too() -> None:
    env = make_practice_env(PLAYROOM, ["open_drawer"], [], 96, RobotAccess(), Autonomy(furniture=7))
    assert env.unwrapped.furniture == 7  # type: ignore[attr-defined]
    env.close()


@pytest.mark.parametrize("wrong", [{"consecutive": 0}, {"episode_steps": 0}])
def test_numbers_with_which_nothing_could_be_practised_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(RunError, match=f"--{next(iter(wrong)).replace('_', '-')}: expected 1 or more, found 0"):
        make_practice_env(PLAYROOM, ["open_drawer"], [], 96, RobotAccess(), Autonomy(reset_free=True, **wrong))
