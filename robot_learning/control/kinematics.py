"""Forward and differential inverse kinematics of a contract's arm, with the tool pointing straight down.

The IK is mink's: a quadratic program per iteration, with the joint limits as constraints (https://github.com/kevinzakka/mink).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import mink
import mujoco
import numpy as np
from numpy.typing import ArrayLike

from robot_learning.contract import Contract
from robot_learning.control.robot_model import RobotModelError, robot_spec
from robot_learning.control.rotations import Array, tool_down, wxyz_from_xyzw, xyzw_from_wxyz, yaw_of

TCP = "tcp"
POSITION_TOLERANCE = 5e-4  # [m]
ROTATION_TOLERANCE = 2e-3  # [rad]
MAX_ITERATIONS = 10
DAMPING = 1e-6
LM_DAMPING = 1e-2
# Out of reach, the tool stays upright first, is in place second and turned third: tilt [1/rad], position [1/m], yaw.
POSITION_COST = 1.0
ROTATION_COST = (1.0, 1.0, 0.1)
MAX_TILT = math.radians(10.0)  # of the tool at home, from straight down


@dataclass(frozen=True)
class Pose:
    """A tool pose in the base frame: `position` (3,) [m], `rotation` (3, 3), `yaw` in (-pi, pi] [rad].

    Yaw is where the tool's x axis points, about the base's z axis.
    """

    position: Array
    rotation: Array
    yaw: float

    @property
    def tilt(self) -> float:
        """How far the tool is from pointing straight down [rad]."""
        return math.acos(np.clip(-self.rotation[2, 2], -1.0, 1.0))

    @property
    def quaternion(self) -> Array:
        """The rotation as a quaternion (4,) xyzw."""
        wxyz = np.empty(4)
        mujoco.mju_mat2Quat(wxyz, np.ascontiguousarray(self.rotation).ravel())
        return xyzw_from_wxyz(wxyz)


class Kinematics:
    """Kinematics of the contract's arm joints J; all other joints of the model (fingers) stay at their reference.

    Raises:
        AssetError, RobotModelError: as `robot_spec`; or the joints are no serial chain, or the tool at home is not
            pointing down (the z axis of `tcp_site` must point out of the hand).
    """

    def __init__(self, contract: Contract, spec: mujoco.MjSpec | None = None) -> None:
        self.contract = contract
        self.model = chain_model(contract, robot_spec(contract) if spec is None else spec)
        self._lower = np.array(contract.joints.lower) + contract.joints.margin
        self._upper = np.array(contract.joints.upper) - contract.joints.margin
        self._forward_data = mujoco.MjData(self.model)
        self._configuration = mink.Configuration(self.model)
        self._frame = mink.FrameTask(TCP, "site", POSITION_COST, ROTATION_COST, lm_damping=LM_DAMPING)
        self._tasks: list[mink.Task] = [self._frame]
        if len(contract.joints.names) > 6:  # a redundant arm's elbow would drift
            posture = mink.PostureTask(self.model, cost=1e-3)
            posture.set_target(np.array(contract.joints.home))
            self._tasks.append(posture)
        self._limit = mink.ConfigurationLimit(self.model, gain=1.0, min_distance_from_limits=contract.joints.margin)
        tilt = self.forward(contract.joints.home).tilt
        if tilt > MAX_TILT:
            raise RobotModelError(
                f"contract {contract.name!r}: at joints.home the z axis of the tcp_site must point straight down; "
                f"it is {math.degrees(tilt):.0f} degrees off. Change joints.home, or the site's orientation in the MJCF"
            )

    def forward(self, joints: ArrayLike) -> Pose:
        """The tool's pose in base at these `joints` (J,) [rad]."""
        data = self._forward_data
        data.qpos[:] = joints
        mujoco.mj_kinematics(self.model, data)
        rotation = data.site_xmat[0].reshape(3, 3).copy()
        return Pose(data.site_xpos[0].copy(), rotation, yaw_of(rotation))

    def solve(self, position: ArrayLike, yaw: float, seed_joints: ArrayLike) -> Array:
        """Joints (J,) [rad] that bring the tool to `position` (3,) [m] and `yaw` [rad] in base, pointing down.

        A few iterations from `seed_joints` (J,), as a controller needs that moves by small steps: a target that is far
        off or out of reach gives joints on the way to it. They keep the contract's margin from the joint limits,
        unless the seed is at the target already, which returns it unchanged. Turns the short way; whole turns of a
        joint are neither added nor removed.
        """
        quaternion = wxyz_from_xyzw(tool_down(yaw))
        self._frame.set_target(mink.SE3(np.concatenate([quaternion, np.asarray(position, dtype=float)])))
        configuration = self._configuration
        configuration.update(np.asarray(seed_joints, dtype=float))
        best, best_cost = configuration.q, math.inf
        for iteration in range(MAX_ITERATIONS):
            error = self._frame.compute_error(configuration)
            if math.hypot(*error[:3]) < POSITION_TOLERANCE and math.hypot(*error[3:]) < ROTATION_TOLERANCE:
                return configuration.q
            cost = float(np.linalg.norm(error * self._frame.cost))
            if cost >= best_cost:
                break  # at a singularity or out of reach
            best, best_cost = configuration.q, cost
            if iteration == 0:
                configuration.update(np.clip(best, self._lower, self._upper))
            configuration.integrate_inplace(self._step(), 1.0)
        return best

    def _step(self) -> Array:
        """One iteration's joint increment (J,) [rad]: the minimum within the joint limits of mink's quadratic program."""
        configuration = self._configuration
        problem = mink.build_ik(configuration, self._tasks, dt=1.0, damping=DAMPING, limits=[])
        step = np.linalg.solve(problem.P, -problem.q)
        reached = configuration.q + step
        if np.all(reached >= self._lower) and np.all(reached <= self._upper):
            return step  # the unconstrained minimum of a convex program keeps its constraints: no solver needed
        return mink.solve_ik(configuration, self._tasks, 1.0, "daqp", damping=DAMPING, limits=[self._limit])


def chain_model(contract: Contract, spec: mujoco.MjSpec) -> mujoco.MjModel:
    """A model of the bodies between base and tool centre point only, with the arm's joints in the contract's order.

    Far cheaper than the whole robot: no fingers, meshes, contacts or closed loops.
    """
    full = spec.compile()
    site = full.site(contract.simulation.tcp_site).id if contract.simulation else 0
    path = [int(full.site_bodyid[site])]
    while path[0] != 0:
        path.insert(0, int(full.body_parentid[path[0]]))
    on_path = [full.joint(j).name for body in path for j in _joints_of(full, body)]
    found = [name for name in on_path if name in contract.joints.names]
    if found != list(contract.joints.names):
        raise RobotModelError(
            f"contract {contract.name!r}: joints.names must be a serial chain from the base to the tcp_site, in that "
            f"order; found {found} on the way, expected {list(contract.joints.names)}"
        )
    chain = mujoco.MjSpec()
    chain.compiler.degree = False
    body = chain.worldbody
    for index in path[1:]:
        body = body.add_body(pos=full.body_pos[index], quat=full.body_quat[index], mass=1.0, inertia=[1.0, 1.0, 1.0])
        body.explicitinertial = True
        for j in _joints_of(full, index):
            if full.joint(j).name in found:
                _add_joint(body, full, j, contract)
    body.add_site(name=TCP, pos=full.site_pos[site], quat=full.site_quat[site])
    return chain.compile()


def _joints_of(model: mujoco.MjModel, body: int) -> range:
    first = int(model.body_jntadr[body])
    return range(first, first + int(model.body_jntnum[body]))


def _add_joint(body: mujoco.MjsBody, model: mujoco.MjModel, joint: int, contract: Contract) -> None:
    name = model.joint(joint).name
    i = contract.joints.names.index(name)
    body.add_joint(
        name=name,
        type=mujoco.mjtJoint(int(model.jnt_type[joint])),
        pos=model.jnt_pos[joint],
        axis=model.jnt_axis[joint],
        ref=float(model.qpos0[model.jnt_qposadr[joint]]),
        range=[contract.joints.lower[i], contract.joints.upper[i]],
        limited=mujoco.mjtLimited.mjLIMITED_TRUE,
    )
