"""Practice on a robot waits while the robot holds, or cannot be seen or judged, and goes on by itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
from rich.console import Console

from robot_learning.errors import UserError

OWN = "env"  # source of an action that is the learner's own


def tell(text: str) -> None:
    """Say it on the terminal; a progress bar that is shown there stays whole."""
    Console(stderr=True).print(text, style="yellow", markup=False, highlight=False, soft_wrap=True)


class Pausing(gymnasium.Wrapper[Any, Any, Any, Any]):
    """An episode that a hold or a lost stream cuts off is truncated; `reset` waits until that is over, and says why it waits.

    The environment below is `robot_learning/Robot-v0`, or has its `probe` and `info`. Added to `info` are

    - `held`: why the episode was cut off, else empty;
    - `lost`: true when nothing is known of what the action led to, so that there is nothing to learn from it;
    - `action_taken` `(A,)`: what was carried out instead of the learner's action: a person's, or zeros by a robot that held.

    Args:
        stop: whether to stop waiting. `reset` then returns at once and begins no episode: nothing may be stepped any more.
        say: called with what an operator should know.
    """

    def __init__(
        self, env: gymnasium.Env[Any, Any], stop: Callable[[], bool] = lambda: False, say: Callable[[str], None] = tell
    ) -> None:
        super().__init__(env)
        self.say = say
        self.stop_when(stop)
        self._seen: Any = None
        self._told: dict[str, Any] = {"is_success": False, "instruction": ""}

    def stop_when(self, stop: Callable[[], bool]) -> None:
        """From now on it is `stop` that says whether to go on waiting."""
        self.stop = self.env.unwrapped.stop = stop  # type: ignore[attr-defined]

    def require_ready(self, task: str) -> None:
        """Check that the robot can be seen, moved and judged, before anything is begun; a robot that holds will be waited for.

        Raises:
            UserError: what is missing (`GraphIncompleteError`).
        """
        self.env.unwrapped.probe(task)  # type: ignore[attr-defined]

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode as soon as the robot carries out actions and everything needed is there."""
        said, task = "", (options or {}).get("task", "")
        while not self.stop():
            reason = self._hindrance(task)
            if not reason:
                try:
                    self._seen, self._told = self.env.reset(seed=seed, options=options)
                except UserError as error:  # of the graph, or a service that says no
                    reason = str(error)
                else:
                    if said:
                        self.say("Practice goes on.")
                    return self._seen, self._told
            if reason != said:
                self.say(f"Practice waits and goes on by itself; Ctrl-C saves and stops. {reason}")
                said = reason
        return self._nothing() if self._seen is None else self._seen, {"is_success": False, "instruction": task}

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """As the environment's; truncated when the robot has been holding or nothing was seen for too long."""
        try:
            self._seen, reward, terminated, truncated, self._told = self.env.step(action)
        except TimeoutError as error:  # the graph's: streams are missing or stale
            held = str(error)
            self.say(f"The episode ends here, truncated. {held}")
            told = {"is_success": False, "instruction": self._told["instruction"], "held": held, "lost": True}
            return self._seen, 0.0, False, True, told
        info = dict(self._told)
        if info.get("source") != OWN:  # without one nothing was carried out
            info["action_taken"] = info.get("action_sent", np.zeros_like(action))
        if info["held"] and not terminated:
            self.say(f"The episode ends here, truncated. {info['held']}")
            truncated = True
        return self._seen, reward, terminated, truncated, info

    def _hindrance(self, task: str) -> str:
        try:
            return str(self.env.unwrapped.probe(task))  # type: ignore[attr-defined]
        except UserError as error:
            return str(error)

    def _nothing(self) -> dict[str, np.ndarray]:
        spaces = self.observation_space.spaces  # type: ignore[attr-defined]
        return {key: np.zeros(space.shape, space.dtype) for key, space in spaces.items()}
