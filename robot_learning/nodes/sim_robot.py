"""sim_robot: the playroom behind the topics of a robot under ros2_control, with its cameras and, if asked, its clock."""

from __future__ import annotations

import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from rclpy.task import Future
from std_srvs.srv import Trigger

from robot_learning.contract import STATE
from robot_learning.envs.tasks import UnknownTaskError
from robot_learning.nodes.base import ERROR, OK, WARN, NodeConfig, RobotNode
from robot_learning.nodes.images import CameraPublisher, camera_name, pinhole_info, source_size
from robot_learning.nodes.parameters import ParameterError
from robot_learning.nodes.running import run
from robot_learning.nodes.simulation.photographer import Photographer
from robot_learning.nodes.simulation.schedule import Pacer, Schedule
from robot_learning.nodes.simulation.simulator import Simulator
from robot_learning.nodes.simulation.topics import JOINTS, TICK, CommandTopics, RobotTopics
from robot_learning.nodes.writers_of import others_who_write

SLOW = 0.9  # below this share of the asked real-time factor the status says so
HEALTH_PERIOD = 0.5  # [s, wall]
TWO_ROBOTS = "two robots in one ROS domain; stop the other, or give one another namespace, or ROS_DOMAIN_ID"
Answer = tuple[bool, str]  # success and message of a Trigger service


@dataclass(frozen=True)
class Config(NodeConfig):
    """Parameters of sim_robot."""

    task: str = "open_drawer"
    """Task the playroom is furnished for at the start; the topic `task` changes it."""
    seed: int = 0
    """Seed of the first reset; every further one adds 1."""
    variation: float = 1.0
    """Scales how far the furniture moves between resets."""
    furniture: int = -1
    """Seed of where the furniture stands after every reset; -1: elsewhere after each."""
    camera_rate: float = 0.0
    """Pictures a second of each camera [Hz]; 0: as the contract says."""
    joint_state_rate: float = 0.0
    """Joint states a second [Hz]; 0: as the contract says."""
    real_time_factor: float = 1.0
    """Simulated seconds a wall second at most; 0: as fast as it can."""
    lockstep: bool = False
    """Publish once a control tick, then wait for the command before going on: nothing depends on the machine's speed."""
    lockstep_timeout: float = 0.5
    """How long lockstep waits for a command before it goes on without [s, wall]."""
    publish_clock: bool = True
    """Publish /clock and stamp messages with simulated time; false: stamp them with the system's time."""
    compressed: bool = False
    """Offer image_raw/compressed (JPEG) even if the contract reads raw pictures."""
    interpolate: bool = True
    """Ramp every new joint target over one control period; false: jump to it, as a bare position controller."""
    environment_state: bool = True
    """Publish the state of the objects, which no real robot knows."""


class SimRobot(RobotNode[Config]):
    """See the module's docstring. Physics and joint states run in one thread, rendering in a second, ROS in a third."""

    def __init__(self, **options: Any) -> None:
        self._offered: list[Any] | None = (
            None  # services, made by do_configure; a node that failed to start is destroyed too
        )
        super().__init__("sim_robot", Config, **options)
        config = self.config
        if not config.publish_clock and (config.lockstep or config.real_time_factor != 1.0):
            raise ParameterError(
                "sim_robot: publish_clock false needs real_time_factor 1.0 and lockstep false, for without /clock the "
                f"simulation must run as the system's time does; found real_time_factor {config.real_time_factor}, "
                f"lockstep {config.lockstep}"
            )
        self._requests: list[tuple[Callable[[Future[Answer]], None], Future[Answer]]] = []
        self._homed: list[Future[Answer]] = []
        self._reset_told: list[tuple[Future[Answer], str]] = []
        self._failure = self._unknown_task = ""
        self._running = threading.Event()

    # --- lifecycle ---------------------------------------------------------------------------------------------------

    def do_configure(self) -> None:
        """Build the room and its topics, and reset it for the first time."""
        config, images = self.config, self.contract.images
        furniture = config.furniture if config.furniture >= 0 else None
        self._simulator = Simulator(
            self.contract, config.task, config.seed, config.variation, config.interpolate, furniture
        )
        self._pacer = Pacer(config.real_time_factor)
        sizes = {camera_name(key): source_size(stream) for key, stream in images.items()}
        self._photographer = Photographer(self.contract, sizes, self._publish_picture)
        self._cameras: dict[str, CameraPublisher] = {}
        for key, stream in images.items():
            field_of_view = self._photographer.field_of_view(camera_name(key))
            info = pinhole_info(*source_size(stream), field_of_view)
            self._cameras[camera_name(key)] = CameraPublisher.of_stream(self, key, stream, info, config.compressed)
        self._schedule = Schedule(self._periods())
        self._joint_topic = self.contract.observation[STATE].topic
        self._topics = RobotTopics(self, self._simulator, config.publish_clock, config.environment_state)
        self._commands = CommandTopics(self, self._simulator, self._set_task)
        self._offered = [self._awaited_service("reset", self._reset), self._awaited_service("home", self._home)]
        self._health = self.wall_timer(HEALTH_PERIOD, self._report_health)
        self._simulator.reset()
        self._fresh = True  # the room was reset, and nothing of it published yet

    def _periods(self) -> dict[str, float]:
        """Physics steps between two messages of everything the robot publishes."""
        tick, rate = self._simulator.room.tick_steps, self._simulator.physics_rate
        rates = {camera_name(key): self.config.camera_rate or s.rate for key, s in self.contract.images.items()}
        rates[JOINTS] = self.config.joint_state_rate or self.contract.observation[STATE].rate
        if self.config.lockstep:
            return dict.fromkeys([TICK, *rates], tick)
        return {TICK: tick, **{name: rate / wanted for name, wanted in rates.items()}}

    def do_activate(self) -> None:
        """Let time run."""
        self._running.set()
        self._thread = threading.Thread(target=self._run, name="simulation", daemon=True)
        self._thread.start()

    def do_deactivate(self) -> None:
        """Time stands still."""
        self._running.clear()
        self._simulator.wake()
        self._thread.join()
        self._refuse("sim_robot was deactivated")

    def do_cleanup(self) -> None:
        """Take the room and its topics down."""
        if self._offered is None:
            return
        self.destroy_timer(self._health)
        for service in self._offered:
            self.destroy_service(service)
        self._photographer.close()
        self._commands.destroy()
        self._topics.destroy()
        for camera in self._cameras.values():
            camera.destroy()
        self._simulator.close()
        self._offered = None

    def destroy_node(self) -> None:
        """Free the GL contexts in the thread they belong to, whatever state the node is in."""
        self.do_cleanup()
        super().destroy_node()

    # --- the course of time, in the simulation's thread -----------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._pacer.restart(self._simulator.time * 1e-9)
            while self._running.is_set():
                self._move_on()
        except Exception as error:
            self.get_logger().error(traceback.format_exc())
            self._failure = f"the simulation has ended: {error}"
            self._refuse(self._failure)

    def _move_on(self) -> None:
        """To the next instant at which something is due."""
        self._serve_requests()
        simulator = self._simulator
        if self._fresh:
            due: tuple[str, ...] = (TICK, JOINTS, *self._cameras)
            self._fresh = False
            self._pacer.jump(simulator.time * 1e-9)
        else:
            step, due = self._schedule.after(simulator.step)
            self._pacer.wait(step / simulator.physics_rate)
            simulator.advance_to(step)
        stamp = simulator.time if self.config.publish_clock else self.now()
        self._take_pictures([name for name in due if name in self._cameras and self._cameras[name].wanted], stamp)
        self._topics.publish(due, stamp)
        self._answer_resets()
        if not simulator.is_homing:
            self._answer_homed((True, "home"))
            self._await_command()

    def _await_command(self) -> None:
        if self.config.lockstep:
            timeout = self.config.lockstep_timeout
            if not self._simulator.await_command(timeout, lambda: bool(self._requests) or not self._running.is_set()):
                self.count("lockstep timeouts")

    def _take_pictures(self, names: list[str], stamp: int) -> None:
        """Never late for the sake of a picture in real time; otherwise time waits for the pictures."""
        wait = self.config.lockstep or self.config.real_time_factor == 0.0 or bool(self._reset_told)
        if names and not self._photographer.take(self._simulator.state(stamp), names, stamp, wait):
            self.count("skipped pictures", len(names))

    def _publish_picture(self, name: str, picture: np.ndarray, stamp: int) -> None:
        self._cameras[name].publish(picture, stamp)

    # --- requests ------------------------------------------------------------------------------------------------------

    def _awaited_service(self, name: str, work: Callable[[Future[Answer]], None]) -> Any:
        """A Trigger service whose `work` is done by the simulation's thread, between two instants."""

        async def answer(_: Any, response: Any) -> Any:
            if not self._running.is_set() or self._failure:
                response.success, response.message = (
                    False,
                    self._failure or "sim_robot is not active: time stands still",
                )
                return response
            future: Future[Answer] = Future(executor=self.executor)
            self._requests.append((work, future))
            self._simulator.wake()
            self._refuse_if_ended()
            answered = await future
            assert answered is not None
            response.success, response.message = answered
            return response

        return self.create_service(Trigger, f"~/{name}", answer)

    def _serve_requests(self) -> None:
        while self._requests:
            work, future = self._requests[0]
            work(future)
            self._requests.pop(0)  # not before: if it fails, who asked is told why

    def _reset(self, future: Future[Answer]) -> None:
        self._answer_homed((False, "a reset came in between"))
        self._reset_told.append((future, self._simulator.reset()))
        self._fresh = True

    def _answer_resets(self) -> None:
        """Once the room as it is now has been published: who records next must not begin with what was before."""
        while self._reset_told:
            future, text = self._reset_told.pop()
            future.set_result((True, text))

    def _home(self, future: Future[Answer]) -> None:
        self._simulator.start_homing()
        self._homed.append(future)

    def _refuse_if_ended(self) -> None:
        """The thread that would have answered may have gone just now."""
        if self._failure:
            self._refuse(self._failure)

    def _refuse(self, reason: str) -> None:
        """Let nobody wait for a simulation that does not go on."""
        while self._requests:
            self._requests.pop()[1].set_result((False, reason))
        while self._reset_told:
            self._reset_told.pop()[0].set_result((False, reason))
        self._answer_homed((False, reason))

    def _answer_homed(self, answer: Answer) -> None:
        while self._homed:
            self._homed.pop().set_result(answer)

    def _set_task(self, instruction: str) -> None:
        try:
            self._simulator.set_task(instruction)
            self._unknown_task = ""
        except UnknownTaskError as error:
            self._unknown_task = str(error)

    # --- health ------------------------------------------------------------------------------------------------------

    def _report_health(self) -> None:
        simulator, wanted, reached = self._simulator, self.config.real_time_factor, self._pacer.measured
        values = {
            "task": simulator.env.task.name,
            "seed": simulator.seed,
            "real-time factor": reached,
            "simulated time [s]": simulator.time * 1e-9,
            "success": simulator.success,
        }
        if not self.is_active:
            return
        if self._failure:
            self.report(ERROR, self._failure, **values)
        elif simulator.room.diverged:
            self.report(ERROR, "the physics has diverged; call sim_robot/reset", **values)
        elif others := others_who_write(self, self._joint_topic):
            self.report(WARN, f"{self._joint_topic} comes from {', '.join(others)} too: {TWO_ROBOTS}", **values)
        elif self._unknown_task:
            self.report(WARN, self._unknown_task, **values)
        elif simulator.is_homing:
            self.report(OK, "going home", **values)
        elif 0.0 < reached < SLOW * wanted and not self.config.lockstep:
            self.report(WARN, "slower than asked, see real-time factor; use smaller pictures or fewer", **values)
        else:
            self.report(OK, "running", **values)


def main(args: list[str] | None = None) -> int:
    """Entry point of the executable."""
    return run(SimRobot, args)


if __name__ == "__main__":
    sys.exit(main())
