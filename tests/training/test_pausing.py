"""Practice on a robot that holds, is lost from sight, or is taken over by a person."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from robot_learning.contract import STATE
from robot_learning.errors import UserError
from robot_learning.training.pausing import Pausing

from .robot_stand_in import REACH, TASK, LostError, RobotStandIn, robot  # noqa: F401  a fixture

HOLD = "holding: the e-stop is pressed"
FORWARD = np.array([1, 0, 0, 0, 0], np.float32)


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def env(robot: type[RobotStandIn], said: list[str]) -> Pausing:  # noqa: F811
    return Pausing(RobotStandIn("ur5e_2f85", TASK, (STATE,)), say=said.append)


def test_a_hold_ends_the_episode_as_truncated(env: Pausing, said: list[str]) -> None:
    RobotStandIn.script = {1: "hold"}
    env.reset()
    assert env.step(FORWARD)[2:4] == (False, False)
    _, _, terminated, truncated, info = env.step(FORWARD)
    assert (terminated, truncated, info["held"]) == (False, True, HOLD)
    assert said == [f"The episode ends here, truncated. {HOLD}"]


def test_success_is_no_truncation_though_the_robot_holds_then(env: Pausing) -> None:
    env.reset()
    env.unwrapped.place = float(REACH)
    RobotStandIn.script = {0: "hold"}
    assert env.step(FORWARD)[2:4] == (True, False)


def test_reset_waits_until_the_robot_is_released_and_says_why_once(env: Pausing, said: list[str]) -> None:
    RobotStandIn.hindrances = [HOLD, HOLD, LostError("front/image_raw: stale"), ""]
    observation, _ = env.reset(options={"task": TASK})
    assert RobotStandIn.hindrances == [] and observation[STATE][13] == 0.0
    assert [line.split(" ")[-1] for line in said] == ["pressed", "stale", "on."]
    assert "Ctrl-C saves and stops" in said[0]


def test_a_reset_service_that_says_no_is_waited_for(
    env: Pausing, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real, answers = RobotStandIn.reset, [UserError("my_robot/home: the brake is on")]

    def reset(self, **options):
        if answers:
            raise answers.pop()
        return real(self, **options)

    monkeypatch.setattr(RobotStandIn, "reset", reset)
    env.reset()
    assert "the brake is on" in said[0] and said[1] == "Practice goes on."


def test_a_stream_that_is_lost_ends_the_episode_and_leaves_nothing_to_learn(env: Pausing) -> None:
    RobotStandIn.script = {1: "lost"}
    env.reset()
    seen, *_ = env.step(FORWARD)
    last, reward, terminated, truncated, info = env.step(FORWARD)
    assert (reward, terminated, truncated) == (0.0, False, True)
    assert info["lost"] and "joint_states" in info["held"] and last is seen


def test_ctrl_c_ends_the_waiting(env: Pausing) -> None:
    RobotStandIn.hindrances = [HOLD] * 100
    env.stop_when(lambda: len(RobotStandIn.probes) > 3)
    observation, info = env.reset(options={"task": TASK})
    assert env.observation_space.contains(observation) and info["instruction"] == TASK


@pytest.mark.parametrize(("event", "expected"), [("teleop", 0.5), ("hold", 0.0), ("", None)])
def test_it_says_whose_action_was_carried_out(env: Pausing, event: str, expected: float | None) -> None:
    RobotStandIn.script = {0: event}
    env.reset()
    taken = env.step(FORWARD)[4].get("action_taken")
    assert taken is None if expected is None else taken == pytest.approx(np.full(5, expected))


def test_what_is_missing_before_anything_begins_is_an_error(env: Pausing) -> None:
    RobotStandIn.hindrances = [LostError("success: no message; who judges the task?")]
    with pytest.raises(UserError, match="who judges"):
        env.require_ready(TASK)


def test_a_hold_before_anything_begins_is_waited_for_later(env: Pausing, tmp_path: Path) -> None:
    RobotStandIn.hindrances = [HOLD]
    env.require_ready(TASK)
