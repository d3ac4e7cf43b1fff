"""The simulated playroom: furniture, block and robot with names instead of indices.

Frames: world = robot base (REP-103); every furniture part has a frame of its own on the desk top (see playroom.xml).
Quaternions are xyzw here; MuJoCo's wxyz stays inside this file. Positions [m], angles [rad].
"""

from __future__ import annotations

import mujoco
import numpy as np

from robot_learning.contract import Contract
from robot_learning.control.cartesian import CartesianController, Command, gripper_command, gripper_opening
from robot_learning.envs.scene import ROBOT_PREFIX, SceneError, playroom_spec

FURNITURE = ("desk", "shelf", "buttons")
FURNITURE_JOINTS = ("drawer", "door", "button_red", "button_green", "button_blue")
COLOURS = ("red", "green", "blue")
PRESSED = 0.007  # a button this deep counts as pressed and lights its lamp [m]
ARM_TRACKING_TIME = 0.05  # lag of the arm's position controllers behind a moving set-point [s]
INTERPOLATION = 5  # joint set-points between two control ticks, as a real arm's trajectory interpolation
LAMP_LIT = {"red": (1.0, 0.35, 0.30), "green": (0.45, 1.0, 0.45), "blue": (0.45, 0.60, 1.0)}


class Playroom:
    """One playroom with its own model and state.

    Args:
        contract: the robot; its `simulation` part says how MuJoCo builds it.
    """

    def __init__(self, contract: Contract) -> None:
        if contract.simulation is None:
            raise SceneError(f"contract {contract.name!r} has no 'simulation' part, so it cannot be simulated")
        self.contract = contract
        self.model: mujoco.MjModel = playroom_spec(contract).compile()
        self.data = mujoco.MjData(self.model)
        self.controller = CartesianController(contract)
        ratio = 1.0 / (contract.rate * self.model.opt.timestep * INTERPOLATION)
        self._substeps = max(1, round(ratio))
        self._index()
        self._sharpen_arm()
        self.aim(np.array(contract.joints.home), interpolate=False)

    def _index(self) -> None:
        model, sim = self.model, self.contract.simulation
        assert sim is not None
        joint_ids = [model.joint(ROBOT_PREFIX + name).id for name in self.contract.joints.names]
        self._arm_qpos = model.jnt_qposadr[joint_ids]
        self._arm_dof = model.jnt_dofadr[joint_ids]
        self._arm_ctrl = np.array([model.actuator(ROBOT_PREFIX + name).id for name in sim.arm_actuators])
        self._gripper_ctrl = model.actuator(ROBOT_PREFIX + sim.gripper_actuator).id
        self._gripper_qpos = model.joint(ROBOT_PREFIX + sim.gripper_joint).qposadr[0]
        self._gripper_dof = model.joint(ROBOT_PREFIX + sim.gripper_joint).dofadr[0]
        self._tcp = model.site(ROBOT_PREFIX + sim.tcp_site).id
        self._joint_qpos = {name: int(model.joint(name).qposadr[0]) for name in FURNITURE_JOINTS}
        self._joint_dof = {name: int(model.joint(name).dofadr[0]) for name in FURNITURE_JOINTS}
        self._block_qpos = int(model.joint("block").qposadr[0])
        self._block_dof = int(model.joint("block").dofadr[0])
        self._block_body = model.body("block").id
        self._mocap = {name: int(model.body(name).mocapid[0]) for name in FURNITURE}
        self._nominal = {name: (*model.body(name).pos[:2], 0.0) for name in FURNITURE}
        self._lamps = {colour: model.geom(f"lamp_{colour}").id for colour in COLOURS}
        self._lamp_dark = {colour: model.geom_rgba[g, :3].copy() for colour, g in self._lamps.items()}
        self._sites = {model.site(i).name: i for i in range(model.nsite)}

    def _sharpen_arm(self) -> None:
        """Give the arm's position controllers the short lag of an industrial arm (MJCF gains lag by 0.2 s)."""
        for actuator in self._arm_ctrl:
            stiffness = self.model.actuator_gainprm[actuator, 0]
            self.model.actuator_biasprm[actuator, 2] = -ARM_TRACKING_TIME * stiffness

    # --- furniture ---------------------------------------------------------------------------------------------------

    def nominal(self, name: str) -> tuple[float, float, float]:
        """Where a furniture part stands without variation: `(x, y, yaw)`; shelf and buttons in the desk's frame."""
        x, y, yaw = self._nominal[name]
        if name == "desk":
            return x, y, yaw
        return x - self._nominal["desk"][0], y - self._nominal["desk"][1], yaw

    def place(self, name: str, x: float, y: float, yaw: float) -> None:
        """Stand a furniture part at `(x, y, yaw)` in the world, on the floor."""
        mocap = self._mocap[name]
        self.data.mocap_pos[mocap] = (x, y, 0.0)
        self.data.mocap_quat[mocap] = (np.cos(yaw / 2), 0.0, 0.0, np.sin(yaw / 2))

    def pose(self, name: str) -> tuple[np.ndarray, float]:
        """Position `(3,)` and yaw of a furniture part."""
        mocap = self._mocap[name]
        w, _, _, z = self.data.mocap_quat[mocap]
        return self.data.mocap_pos[mocap].copy(), 2.0 * float(np.arctan2(z, w))

    def to_world(self, frame: str, point: np.ndarray | tuple[float, float, float]) -> np.ndarray:
        """A point `(3,)` of a furniture frame, in the world."""
        origin, yaw = self.pose(frame)
        c, s = np.cos(yaw), np.sin(yaw)
        x, y, z = point
        return origin + np.array([c * x - s * y, s * x + c * y, z])

    def to_frame(self, frame: str, point: np.ndarray) -> np.ndarray:
        """A world point `(3,)` in a furniture frame."""
        origin, yaw = self.pose(frame)
        c, s = np.cos(yaw), np.sin(yaw)
        x, y, z = np.asarray(point) - origin
        return np.array([c * x + s * y, -s * x + c * y, z])

    def joint(self, name: str) -> float:
        """Position of a furniture joint: `drawer` and `door` 0 closed .. open, `button_<colour>` 0 free .. pressed [m]."""
        return float(self.data.qpos[self._joint_qpos[name]])

    def set_joint(self, name: str, value: float) -> None:
        """Put a furniture joint somewhere, at rest."""
        self.data.qpos[self._joint_qpos[name]] = value
        self.data.qvel[self._joint_dof[name]] = 0.0

    def pressed(self, colour: str) -> bool:
        """Whether the button of this colour is down (its lamp is lit)."""
        return self.joint(f"button_{colour}") > PRESSED

    def site(self, name: str) -> np.ndarray:
        """World position `(3,)` of a site: `drawer_handle`, `drawer_inside`, `door_handle`, `shelf_inside`, `button_<c>`."""
        return self.data.site_xpos[self._sites[name]].copy()

    def inside(self, site: str, point: np.ndarray) -> bool:
        """Whether a world point lies within a box site (`drawer_inside`, `shelf_inside`)."""
        index = self._sites[site]
        local = self.data.site_xmat[index].reshape(3, 3).T @ (point - self.data.site_xpos[index])
        return bool(np.all(np.abs(local) <= self.model.site_size[index]))

    # --- block -------------------------------------------------------------------------------------------------------

    @property
    def block(self) -> np.ndarray:
        """World position `(3,)` of the block's centre."""
        return self.data.qpos[self._block_qpos : self._block_qpos + 3].copy()

    @property
    def block_axis(self) -> np.ndarray:
        """Unit vector `(3,)` along the block towards its white head, in the world."""
        w, x, y, z = self.data.qpos[self._block_qpos + 3 : self._block_qpos + 7]
        return np.array([1 - 2 * (y * y + z * z), 2 * (x * y + w * z), 2 * (x * z - w * y)])

    @property
    def block_speed(self) -> float:
        """Speed of the block's centre [m/s]."""
        return float(np.linalg.norm(self.data.qvel[self._block_dof : self._block_dof + 3]))

    def set_block(self, position: np.ndarray, yaw: float, upright: bool = False, roll: float = 0.0) -> None:
        """Put the block at rest: flat with its head towards `yaw`, or standing on its tail, turned by `yaw`."""
        pitch = -np.pi / 2 if upright else 0.0
        quaternion = np.zeros(4)
        mujoco.mju_euler2Quat(
            quaternion, np.array([yaw, pitch, roll]), "zyx"
        )  # lower case: rotations about the turned axes
        self.data.qpos[self._block_qpos : self._block_qpos + 7] = (*position, *quaternion)
        self.data.qvel[self._block_dof : self._block_dof + 6] = 0.0

    # --- robot -------------------------------------------------------------------------------------------------------

    @property
    def joints(self) -> np.ndarray:
        """Joint positions `(J,)` [rad], in the contract's order."""
        return self.data.qpos[self._arm_qpos]

    @property
    def joint_velocities(self) -> np.ndarray:
        """Joint velocities `(J,)` [rad/s]."""
        return self.data.qvel[self._arm_dof]

    @property
    def gripper(self) -> float:
        """Gripper position, 0 open .. 1 closed."""
        return gripper_opening(self.contract, float(self.data.qpos[self._gripper_qpos]))

    @property
    def gripper_joint(self) -> tuple[float, float]:
        """Position and velocity of the gripper's joint, in the contract's unit: what its encoder says."""
        return float(self.data.qpos[self._gripper_qpos]), float(self.data.qvel[self._gripper_dof])

    @property
    def tcp(self) -> np.ndarray:
        """World position `(3,)` of the tool centre point."""
        return self.data.site_xpos[self._tcp].copy()

    @property
    def tcp_yaw(self) -> float:
        """Angle of the tool's x axis about the vertical [rad]; the fingers close along the tool's y axis."""
        return float(np.arctan2(self.data.site_xmat[self._tcp, 3], self.data.site_xmat[self._tcp, 0]))

    def set_arm(self, joints: np.ndarray, gripper: float = 0.0) -> None:
        """Put the arm somewhere at rest with the gripper open (a simulator's teleport, for full resets only)."""
        self.data.qpos[self._arm_qpos] = joints
        self.data.qvel[:] = 0.0
        self.data.ctrl[self._arm_ctrl] = joints
        self.controller.reset(joints, gripper)
        self.aim(joints, interpolate=False)
        self.grip(gripper)

    def step(self, action: np.ndarray) -> Command:
        """One control tick of `1 / contract.rate` seconds: action `(5,)` -> IK -> interpolated joint set-points -> physics.

        Raises:
            ActionError: the action is not finite or has the wrong shape; nothing moves.
        """
        command = self.controller.step(action, self.joints, self.gripper)
        self.follow(command.joints, command.gripper)
        return command

    def follow(self, joints: np.ndarray, gripper: float) -> None:
        """One control tick towards joint targets `(J,)` [rad] and gripper (0 open, 1 closed): what `step` does after IK."""
        self.aim(joints)
        self.grip(gripper)
        self.advance(self.tick_steps)
        self.refresh()

    @property
    def tick_steps(self) -> int:
        """Physics steps in one control tick."""
        return INTERPOLATION * self._substeps

    def aim(self, joints: np.ndarray, interpolate: bool = True) -> None:
        """A new target for the arm: its set-points ramp from where they are to `joints` `(J,)` [rad] over one control tick.

        Without `interpolate` they are there at once, as a bare position controller takes them.
        """
        goal = np.array(joints, dtype=np.float64)
        self._ramp = (self.data.ctrl[self._arm_ctrl] if interpolate else goal, goal)
        self._ramp_step = 0

    def grip(self, gripper: float) -> None:
        """A new target for the gripper, 0 open .. 1 closed."""
        self.data.ctrl[self._gripper_ctrl] = gripper_command(self.contract, gripper)

    def advance(self, steps: int) -> None:
        """`steps` physics steps towards the last `aim`; `refresh` brings what is derived from positions up to date."""
        start, goal = self._ramp
        while steps > 0:
            stage, within = divmod(self._ramp_step, self._substeps)
            if stage < INTERPOLATION:
                count = min(steps, self._substeps - within)
                self.data.ctrl[self._arm_ctrl] = start + (goal - start) * ((stage + 1) / INTERPOLATION)
            else:
                count = steps
            mujoco.mj_step(self.model, self.data, nstep=count)
            self._ramp_step += count
            steps -= count

    def settle(self, seconds: float) -> None:
        """Let objects come to rest while the arm holds."""
        mujoco.mj_step(self.model, self.data, nstep=max(1, round(seconds / self.model.opt.timestep)))
        self.refresh()

    def forward(self) -> None:
        """Make positions consistent after setting state by hand."""
        mujoco.mj_forward(self.model, self.data)
        self.refresh()

    def refresh(self) -> None:
        """mj_step leaves positions one physics step old: bring poses, cameras and lamps up to date."""
        mujoco.mj_kinematics(self.model, self.data)
        mujoco.mj_camlight(self.model, self.data)
        for colour, geom in self._lamps.items():
            self.model.geom_rgba[geom, :3] = LAMP_LIT[colour] if self.pressed(colour) else self._lamp_dark[colour]

    @property
    def diverged(self) -> bool:
        """Whether the physics has become unstable since the last `restart` (MuJoCo then starts over by itself)."""
        kinds = (mujoco.mjtWarning.mjWARN_BADQPOS, mujoco.mjtWarning.mjWARN_BADQVEL, mujoco.mjtWarning.mjWARN_BADQACC)
        return any(self.data.warning[kind].number for kind in kinds)

    def robot_touches(self) -> bool:
        """Whether any part of the robot is in contact with the room or the block (after `forward` or `step`)."""
        robot = self.model.geom_contype == 1
        return any(robot[c.geom1] or robot[c.geom2] for c in self.data.contact[: self.data.ncon] if c.dist < 0)

    def restart(self) -> None:
        """Everything back to the model's initial state; objects and arm must then be placed."""
        mujoco.mj_resetData(self.model, self.data)
