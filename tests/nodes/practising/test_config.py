"""Parameters of the node `practice` that it cannot work with."""

from __future__ import annotations

import pytest

from robot_learning.contract import Contract
from robot_learning.nodes.parameters import ParameterError
from robot_learning.nodes.practising.config import Config

CONTRACT = Contract.load("ur5e_2f85")


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"linger": -1}, "linger"),
        ({"seed": -1}, "seed"),
        ({"ask_after": -1}, "ask_after"),
        ({"patience": 0.0}, "patience"),
        ({"patience": float("nan")}, "patience"),
        ({"home": (0.4, float("nan"), 0.2)}, "home"),
        ({"home": (0.4, 0.0, 2.0)}, r"home.*workspace.*\(0.2 to 0.74, -0.42 to 0.42, -0.105 to 0.42\)"),
        ({"spread": (0.1, -0.1, 0.1)}, "spread"),
        ({"retries": 0}, "retries"),
    ],
)
def test_what_it_cannot_work_with_is_refused(wrong: dict[str, object], named: str) -> None:
    with pytest.raises(ParameterError, match=named):
        Config(run="runs/practice", **wrong).check(CONTRACT)  # type: ignore[arg-type]


def test_the_defaults_are_none_of_that() -> None:
    Config(run="runs/practice", home=(0.4, 0.0, 0.24), spread=(0.0, 0.0, 0.0)).check(CONTRACT)


def test_each_task_needs_a_question_to_tell_whose_a_verdict_is() -> None:
    config = Config(run="runs/practice", tasks=("open the lid", "close the lid"))
    with pytest.raises(ParameterError, match=r"close the lid.*'close the lid = \.\.\.\?'.*questions"):
        config.require_questions(["open the lid", "close the lid"], {"open the lid": "is the lid open?"})


@pytest.mark.parametrize("config", [Config(run="r", reward=""), Config(run="r", tasks=("wave",))])
def test_where_somebody_else_judges_or_there_is_one_task_none_is_needed(config: Config) -> None:
    config.require_questions(list(config.tasks), {})
