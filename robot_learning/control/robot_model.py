"""The MuJoCo model of a contract's robot: an arm alone, or an arm with a gripper attached at its flange."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import mujoco

from robot_learning.contract import Contract, Simulation
from robot_learning.control.assets import mjcf_path
from robot_learning.control.renaming import ACTUATOR, JOINT, SITE, elements, rename
from robot_learning.control.servos import is_limited_motor, is_position_servo, make_position_servo
from robot_learning.errors import UserError

GRIPPER_PREFIX = "gripper_"


class RobotModelError(UserError, ValueError):
    """The MJCF of a robot does not fit its contract."""


def robot_spec(contract: Contract) -> mujoco.MjSpec:
    """The robot alone: arm and gripper, without lights and keyframes.

    Its base body sits at the origin, so that the world is the contract's base frame whatever stand the file gives it.
    Its arm actuators take joint positions (torque motors are made position servos), and its weight is compensated
    (`gravcomp`), as the controllers of real arms do: position servos alone sag by 1 cm.

    Every joint, actuator and site that the contract names is found under that very name. Everything else of a separate
    gripper file carries `GRIPPER_PREFIX`, because arms and grippers share names ("base", "black", "visual").

    Raises:
        AssetError: an MJCF file is not there.
        RobotModelError: the contract has no simulation section, an MJCF file is broken, or a named part is missing;
            the message lists the names the model has.
    """
    simulation = contract.simulation
    if simulation is None:
        raise RobotModelError(f"contract {contract.name!r} has no `simulation` section, which names the robot's MJCF")
    spec = _bare(simulation.arm)
    gripper = _bare(simulation.gripper) if simulation.gripper else None
    _check_names(contract, simulation, [spec] if gripper is None else [spec, gripper])
    if gripper is not None:
        _attach_gripper(spec, gripper, simulation)
    for body in spec.bodies[1:]:
        body.gravcomp = 1.0
    _require_position_servos(spec, contract, simulation)
    _move_base_to_origin(spec.joint(contract.joints.names[0]).parent)
    return spec


def _bare(name: str) -> mujoco.MjSpec:
    path = mjcf_path(name)
    try:
        spec = mujoco.MjSpec.from_file(str(path))
    except ValueError as error:
        raise RobotModelError(f"{path} is not a valid MJCF file: {error}") from error
    for element in [*spec.lights, *spec.keys]:
        spec.delete(element)
    return spec


def _move_base_to_origin(body: Any) -> None:
    while body.parent.name != "world":
        body = body.parent
    body.pos, body.quat = (0.0, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0)
    body.alt.type = mujoco.mjtOrientation.mjORIENTATION_QUAT


def _require_position_servos(spec: mujoco.MjSpec, contract: Contract, simulation: Simulation) -> None:
    joints = contract.joints
    places = zip(simulation.arm_actuators, joints.names, joints.lower, joints.upper, strict=True)
    for name, joint, lower, upper in places:
        actuator = spec.actuator(name)
        if actuator.trntype != mujoco.mjtTrn.mjTRN_JOINT or actuator.target != joint:
            raise RobotModelError(
                f"contract {contract.name!r}: simulation.arm_actuators: expected one that moves the joint {joint!r} in its "
                f"place, found {name!r}, which moves {actuator.target!r}; it and joints.names go in one order"
            )
        if is_limited_motor(actuator):
            make_position_servo(actuator, lower, upper)
        elif not is_position_servo(actuator):
            raise RobotModelError(
                f"{simulation.arm}: actuator {name!r} takes no joint position; "
                f"make it <position>, or a <motor> with a ctrlrange (its torque limits)"
            )


def _attach_gripper(spec: mujoco.MjSpec, gripper: mujoco.MjSpec, simulation: Simulation) -> None:
    # Where arm and gripper disagree on the friction model, fingers that must not slip decide.
    spec.option.cone, spec.option.impratio = gripper.option.cone, gripper.option.impratio
    wanted = (
        (JOINT, simulation.gripper_joint),
        (SITE, simulation.tcp_site),
        (ACTUATOR, simulation.gripper_actuator),
    )
    of_gripper = [(kind, name) for kind, name in wanted if name in _names(elements(gripper, kind))]
    for kind, name in of_gripper:
        if name in _names(elements(spec, kind)):
            raise RobotModelError(
                f"{simulation.arm} and {simulation.gripper} both name something {name!r}, which the contract needs; "
                f"rename it in one of the two files"
            )
    # Attaching with an empty prefix would spare the renaming, but MuJoCo warns at every compilation of such a model.
    spec.attach(gripper, prefix=GRIPPER_PREFIX, site=spec.site(simulation.flange_site))
    for kind, name in of_gripper:
        rename(spec, kind, GRIPPER_PREFIX + name, name)


def _names(parts: Iterable[Any]) -> list[str]:
    return [part.name for part in parts if part.name]


def _check_names(contract: Contract, simulation: Simulation, parts: list[mujoco.MjSpec]) -> None:
    joints, sites, actuators = (
        [name for part in parts for name in _names(elements(part, kind))] for kind in (JOINT, SITE, ACTUATOR)
    )
    wanted = [("joints.names", name, joints) for name in contract.joints.names]
    wanted += [("simulation.gripper_joint", simulation.gripper_joint, joints)]
    wanted += [("simulation.arm_actuators", name, actuators) for name in simulation.arm_actuators]
    wanted += [("simulation.gripper_actuator", simulation.gripper_actuator, actuators)]
    wanted += [("simulation.tcp_site", simulation.tcp_site, sites)]
    if len(parts) > 1:
        wanted += [("simulation.flange_site", simulation.flange_site, _names(parts[0].sites))]
    files = " with ".join(filter(None, (simulation.arm, simulation.gripper)))
    for field, name, known in wanted:
        if name not in known:
            raise RobotModelError(
                f"contract {contract.name!r}: {field} names {name!r}, which {files} does not have; it has {known}"
            )
    if len(simulation.arm_actuators) != len(contract.joints.names):
        raise RobotModelError(
            f"contract {contract.name!r}: simulation.arm_actuators has {len(simulation.arm_actuators)} entries "
            f"for {len(contract.joints.names)} joints; name one for each joint, in the same order"
        )
