"""The playroom's robot under joint commands: its time, its task, its resets. No ROS here."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import numpy as np

from robot_learning.contract import Contract
from robot_learning.control.gripper import gripper_opening
from robot_learning.control.homing import Homes
from robot_learning.control.limits import checked_vector
from robot_learning.envs.mirror import room_state
from robot_learning.envs.playroom_env import PlayroomEnv
from robot_learning.envs.reset_free import homing
from robot_learning.envs.tasks import TASKS, UnknownTaskError

SECOND = 1_000_000_000  # [ns]
RESET_TICKS = 3  # a full reset takes this many control ticks: silence enough for a safety gate to begin anew


class Simulator:
    """One simulated robot in its playroom.

    Time counts physics steps and only ever goes on, also over resets. Commands may come from
    another thread; they take effect when `advance_to` is called next. While the robot goes home by itself they are ignored.

    Args:
        task: name of the task the room is furnished for; seed: of the first reset, the next one uses `seed + 1`, and so on.
        variation: scales how far the furniture moves between resets.
        interpolate: ramp every new joint target over one control period.
        furniture: seed of where the furniture stands after every reset; None: elsewhere after each.
    """

    def __init__(
        self,
        contract: Contract,
        task: str,
        seed: int,
        variation: float = 1.0,
        interpolate: bool = True,
        furniture: int | None = None,
    ) -> None:
        self.env = PlayroomEnv(task=task, contract=contract, variation=variation, furniture=furniture)
        self.room = self.env.room
        self.contract = contract
        self.seed, self.next_seed = seed, seed
        self.interpolate = interpolate
        self.step = 0
        self.known_task = True
        self._physics_rate = round(1.0 / self.room.model.opt.timestep)
        self._homing: Iterator[np.ndarray] | None = None
        self._home_scatter = np.random.default_rng(seed)
        self._inbox = threading.Condition()
        self._arm: np.ndarray | None = None
        self._gripper: float | None = None

    @property
    def time(self) -> int:
        """Simulated time [ns]."""
        return self.step * SECOND // self._physics_rate

    @property
    def physics_rate(self) -> int:
        """Physics steps a second."""
        return self._physics_rate

    def set_task(self, instruction: str) -> None:
        """Ask for another task, by what a person would say or by its name; nothing moves.

        Raises:
            UnknownTaskError: no task is called so; `success` is None from here on.
        """
        for task in TASKS.values():
            if instruction in (task.instruction, task.name):
                self.known_task = True
                self.env.set_task(task.name)
                return
        self.known_task = False
        raise UnknownTaskError(
            f"the playroom has no task {instruction!r}; it knows: {[task.instruction for task in TASKS.values()]}"
        )

    @property
    def success(self) -> bool | None:
        """Whether the task is done now; None when the task asked for is not one of the playroom's."""
        if not self.known_task:
            return None
        return bool(self.env.task.success(self.room)) and not self.room.diverged

    def state(self, stamp: int) -> np.ndarray:
        """What `envs.mirror.Mirror` shows, with the time `stamp` [ns] as its element 0 [s]."""
        state = room_state(self.room)
        state[0] = stamp / SECOND
        return state

    # --- commands ----------------------------------------------------------------------------------------------------

    def command_arm(self, joints: list[float] | np.ndarray) -> None:
        """New joint targets `(J,)` [rad], in the contract's order (`ActionError`: not so many finite numbers)."""
        target = checked_vector(joints, self.contract.joints.names, "arm command")
        with self._inbox:
            self._arm = target
            self._inbox.notify_all()

    def command_gripper(self, position: float) -> None:
        """A new target for the gripper's joint, in the contract's unit (`ActionError`: not finite)."""
        target = float(checked_vector([position], (self.contract.gripper.joint,), "gripper command")[0])
        with self._inbox:
            self._gripper = target
            self._inbox.notify_all()

    def await_command(self, timeout: float, interrupted: Callable[[], bool]) -> bool:
        """Wait until commands for arm and gripper have both come, at most `timeout` [s]; False when that time is over.

        Ends before when `interrupted()`, which is looked at after every `wake`.
        """

        def over() -> bool:
            return (self._arm is not None and self._gripper is not None) or interrupted()

        with self._inbox:
            return self._inbox.wait_for(over, timeout)

    def wake(self) -> None:
        """Let `await_command` look whether it is interrupted."""
        with self._inbox:
            self._inbox.notify_all()

    def _take_commands(self) -> tuple[np.ndarray | None, float | None]:
        with self._inbox:
            taken = self._arm, self._gripper
            self._arm = self._gripper = None
        return taken

    # --- motion ------------------------------------------------------------------------------------------------------

    def advance_to(self, step: int) -> None:
        """Apply the newest commands and run the physics up to `step`."""
        joints, gripper = self._take_commands()
        if self._homing is None:
            if joints is not None:
                self.room.aim(joints, self.interpolate)
            if gripper is not None:
                self.room.grip(gripper_opening(self.contract, gripper))
        while self.step < step:
            tick = self.room.tick_steps
            if self._homing is not None and self.step % tick == 0:
                self._home_one_tick(self._homing)
            until = min(step, self.step - self.step % tick + tick)
            self.room.advance(until - self.step)
            self.step = until
        self.room.refresh()

    def reset(self) -> str:
        """Everything anew, some control ticks later; says for which task and seed."""
        self._homing = None
        self._take_commands()
        self.seed, self.next_seed = self.next_seed, self.next_seed + 1
        self.env.reset(seed=self.seed)
        tick = self.room.tick_steps
        self.step += (1 + RESET_TICKS) * tick - self.step % tick
        return f"{self.env.task.name}, seed {self.seed}"

    def start_homing(self) -> None:
        """Open the gripper and drive home over the next control ticks, by the robot's own controller."""
        self.room.controller.reset(self.room.joints, self.room.gripper)
        self._homing = homing(self.room, Homes(), self._home_scatter)

    @property
    def is_homing(self) -> bool:
        """Whether the robot is on its way home."""
        return self._homing is not None

    def _home_one_tick(self, actions: Iterator[np.ndarray]) -> None:
        self.room.refresh()
        action = next(actions, None)
        if action is None:
            self._homing = None
            return
        command = self.room.controller.step(action, self.room.joints, self.room.gripper)
        self.room.aim(command.joints)
        self.room.grip(command.gripper)

    def close(self) -> None:
        """Free what the environment holds."""
        self.env.close()
