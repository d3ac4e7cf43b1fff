"""A robot on ROS 2 as a Gymnasium environment: `gymnasium.make("robot_learning/Robot-v0")` after importing this module."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium.envs.registration import register
from gymnasium.spaces import Box, Dict

from robot_learning.contract import ENVIRONMENT_STATE, Contract
from robot_learning.control.limits import checked_vector
from robot_learning.data.frames import Frame
from robot_learning.envs.observation import environment_state_stream
from robot_learning.errors import UserError
from robot_learning.nodes.env_link import HOLD, SECOND, EnvLink

register("robot_learning/Robot-v0", "robot_learning.nodes.ros_env:RobotEnv", nondeterministic=True)

FRAME_WAIT = 0.02  # longest wait for a message that is due at a tick [s, wall]
SIMULATED_WAIT = 0.3  # ... where time may stand still meanwhile
HELD = 1.0  # actions that were not carried out for so long are a hold [s]; a person who lets go hands back within 0.5 s
NEVER = 1e8  # no sensor is so old [s]: its stamps are of another clock


class GraphIncompleteError(UserError, TimeoutError):
    """Something the environment needs of the ROS graph does not come; names the topics."""


class RobotEnv(gymnasium.Env[dict[str, np.ndarray], np.ndarray]):
    """The robot of a contract, real or simulated, through its ROS topics and the safety gate.

    Observation and action are those of the contract, as in the playroom's environments; `step` returns at the next control
    tick. Reward is 1 while `success` says so, which terminates; nothing truncates: pass `max_episode_steps` to
    `gymnasium.make`.

    `info` holds `is_success`; the `instruction`; `ages` of the observation's streams [s]; `gate`, what the safety gate says; of
    the action that was really carried out since the last step `action_sent` `(5,)` and its `source` ("env", "teleop" when a
    person overrode it, "hold"); and `held`, why, once nothing has been carried out for a second or the e-stop is
    pressed, else empty.

    Args:
        contract: the robot, a name in `config/contracts/` or a YAML file.
        task: instruction that is published on `task`; empty: leave that to others. `reset(options={"task": ...})` changes it.
        streams: which of the contract's streams to observe; empty: all.
        environment_state: observe the simulation's object state as well.
        reset_service: `std_srvs/Trigger` service that `reset()` calls, such as `sim_robot/reset` or `sim_robot/home` (only
            the arm goes home); empty: the robot stays where it is.
        success_topic: where somebody says whether the task is done; empty: nobody does, and the reward is 0.
        episode_service: `std_srvs/Trigger` service that is told of each new episode after the reset, where somebody offers it: a
            reward node's verdict is on one episode.
        person_judges: who says so speaks only when it is done (a key of `teleop`): silence means not yet.
        namespace: of the robot's topics and nodes.
        use_sim_time: live by /clock.
        timeout: how long to wait for the graph before it counts as incomplete [s, wall]; reset_timeout: for the reset service.

    Attributes:
        stop: while it says so, `reset` does not wait for the reset service, which may take long (`ServiceError`).
    """

    metadata = {"render_modes": []}  # noqa: RUF012 (Gymnasium's own form)

    def __init__(
        self,
        contract: str | Path | Contract = "ur5e_2f85",
        task: str = "",
        streams: Sequence[str] = (),
        environment_state: bool = False,
        reset_service: str = "",
        success_topic: str = "success",
        person_judges: bool = False,
        namespace: str = "",
        use_sim_time: bool = False,
        timeout: float = 10.0,
        reset_timeout: float = 60.0,
        episode_service: str = "reward/new_episode",
    ) -> None:
        robot = contract if isinstance(contract, Contract) else Contract.load(contract)
        if environment_state and ENVIRONMENT_STATE not in robot.observation:
            robot = robot.with_stream(ENVIRONMENT_STATE, environment_state_stream(robot.rate))
        self.contract = robot.select(list(streams)) if streams else robot
        self.task, self.timeout, self.reset_timeout = task, timeout, reset_timeout
        self._period = round(SECOND / self.contract.rate)
        self._frame_wait = SIMULATED_WAIT if use_sim_time else FRAME_WAIT
        self.stop: Callable[[], bool] = lambda: False
        self._frame: Frame | None = None
        self._held_ticks = max(1, round(HELD * self.contract.rate))
        self._ignored = 0  # actions in a row that were not carried out
        self._how_to_link = (
            self.contract, namespace, success_topic, reset_service, use_sim_time, person_judges, episode_service
        )  # fmt: skip
        self.observation_space: Any = Dict(
            {key: _space(stream.shape, stream.dtype) for key, stream in sorted(self.contract.observation.items())}
        )
        self.action_space = Box(-1.0, 1.0, (len(self.contract.action.names),), np.float32)

    @cached_property
    def _link(self) -> EnvLink:
        """The place in the graph, taken when it is first needed: who only asks for the spaces needs no pictures sent."""
        return EnvLink(*self._how_to_link)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Ask for the task, call the reset service, and wait for what the sensors see then.

        The seed has no influence on a robot; the simulated one counts its own.

        Raises:
            ServiceError: the reset service is missing or says no, or the episode service does not answer.
            GraphIncompleteError: streams, the safety gate or `success` are missing.
        """
        super().reset(seed=seed)
        self._ask_for((options or {}).get("task", self.task))
        self._wait_for_time()
        begun = self._link.now()
        self._link.forget()
        if self._link.reset_service:
            self._link.reset_service(self.reset_timeout, self.stop)
        self._link.begin_episode(self.stop)
        since = max(begun + 1, self._link.now() - self._period) if self._link.reset_service else 0
        self._frame = self._await_frame(
            lambda frame: all(frame.at - age * SECOND >= since for age in frame.ages.values()), acted=False
        )
        self._ignored = 0
        return self._observation(self._frame), self._info(self._frame)

    def probe(self, task: str = "") -> str:
        """Ask whether there is anything to wait for: why the robot holds, or nothing when it carries out actions.

        Actions of zeros are sent, which move nothing, as only an action ends a hold. `task` is asked for before.

        Raises:
            GraphIncompleteError: streams, the safety gate or `success` are missing.
        """
        self._ask_for(task or self.task)
        self._wait_for_time()
        self._frame = self._await_frame(lambda frame: True, acted=False)
        self._ignored, held = 0, ""
        while not held:
            held = str(self.step(np.zeros(len(self.contract.action.names)))[-1]["held"])
            if not self._ignored:
                break
        return held

    def step(self, action: np.ndarray) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """Send the action to the safety gate; returns at the next control tick.

        Raises:
            ActionError: the action is not finite or has the wrong shape; nothing is sent.
            GraphIncompleteError: a stream has gone missing, stale or malformed for longer than `timeout`; the robot holds.
        """
        if self._frame is None:
            raise gymnasium.error.ResetNeeded("call reset() before step()")
        vector = checked_vector(action, self.contract.action.names, "action")
        self._link.begin_tick()
        self._link.publish_action(vector, self._frame.at)
        due = self._frame.at + self._period
        self._wait_until(lambda: self._link.now() >= due, lambda: ["/clock: time stands still"])
        self._frame = self._await_frame(lambda frame: True, acted=True)
        info = self._info(self._frame)
        self._ignored = self._ignored + 1 if info.get("source", HOLD) == HOLD else 0
        lasting = self._ignored >= self._held_ticks or (self._ignored and self._link.is_stopped)
        info["held"] = _why(info) if lasting else ""
        return self._observation(self._frame), float(info["is_success"]), info["is_success"], False, info

    def close(self) -> None:
        """Leave the graph."""
        if "_link" in self.__dict__:
            self._link.close()

    def _ask_for(self, task: str) -> None:
        self.task = task
        if task:
            self._link.publish_task(task)

    # --- waiting -----------------------------------------------------------------------------------------------------

    def _wait_for_time(self) -> None:
        self._wait_until(lambda: self._link.now() > 0, lambda: ["/clock: no message yet, but use_sim_time is set"])

    def _await_frame(self, good: Callable[[Frame], bool], acted: bool) -> Frame:
        """A usable frame of now that is `good`; messages that are due any moment are waited for a little."""
        latest = [self._link.frame()]

        def found() -> bool:
            latest[0] = self._link.frame()
            return latest[0].usable and not self._link.lacking() and good(latest[0])

        def lacking() -> list[str]:
            lines = [*latest[0].problems, *self._link.lacking()] or ["no message since the reset"]
            simulated = any(age > NEVER for age in latest[0].ages.values())
            return (
                [*lines, "the stamps are those of a simulation: set use_sim_time (--robot.use-sim-time)"]
                if simulated
                else lines
            )

        self._wait_until(found, lacking)
        deadline = time.monotonic() + self._frame_wait
        while self._link.is_something_due(latest[0], acted) and time.monotonic() < deadline:
            self._link.wait(deadline - time.monotonic())
            fresh = self._link.frame()
            latest[0] = fresh if fresh.usable else latest[0]
        return latest[0]

    def _wait_until(self, condition: Callable[[], bool], lacking: Callable[[], list[str]]) -> None:
        deadline = time.monotonic() + self.timeout
        while not condition():
            if time.monotonic() > deadline:
                problems = "\n  ".join(lacking())
                raise GraphIncompleteError(
                    f"waited {self.timeout:g} s for the robot {self.contract.name!r}:\n  {problems}\n"
                    "Is everything running, in this namespace and ROS_DOMAIN_ID? (ros2 topic list, robot-learning status)"
                )
            self._link.wait(0.05)

    def _observation(self, frame: Frame) -> dict[str, np.ndarray]:
        return {key: frame.values[key].copy() for key in self.contract.observation}

    def _info(self, frame: Frame) -> dict[str, Any]:
        return {
            "is_success": bool(self._link.success),
            "task": self.task,
            "instruction": self.task,
            "held": "",
            "ages": frame.ages,
            **self._link.carried_out(),
        }


def _why(info: dict[str, Any]) -> str:
    """Why nothing was carried out."""
    if info.get("source") == HOLD:
        return str(info["gate"])
    return "safety_gate/action_sent: silent though actions were sent; is the safety gate running?"


def _space(shape: tuple[int, ...], dtype: str) -> Box:
    if dtype == "uint8":
        return Box(0, 255, shape, np.uint8)
    return Box(-np.inf, np.inf, shape, np.dtype(dtype).type)
