"""Position servos for the arm: joint targets are what a contract's actuators take, whatever the MJCF gave them."""

from __future__ import annotations

from typing import Any

import mujoco
import numpy as np

FULL_EFFORT_ERROR = 0.02  # position error [rad] at which a servo made here gives all of the motor's torque


def is_position_servo(actuator: Any) -> bool:
    """True when the actuator's command is a joint position."""
    affine = actuator.biastype == mujoco.mjtBias.mjBIAS_AFFINE
    return bool(affine and actuator.gainprm[0] > 0 and np.isclose(actuator.biasprm[1], -actuator.gainprm[0]))


def is_limited_motor(actuator: Any) -> bool:
    """True for a plain torque motor whose command range says how strong it is."""
    fixed = actuator.gaintype == mujoco.mjtGain.mjGAIN_FIXED and actuator.biastype == mujoco.mjtBias.mjBIAS_NONE
    return bool(fixed and actuator.dyntype == mujoco.mjtDyn.mjDYN_NONE and actuator.ctrlrange[1] > 0)


def make_position_servo(actuator: Any, lower: float, upper: float) -> None:
    """Turn a limited torque motor into a critically damped position servo with the same torque, over [lower, upper] [rad].

    The arms of makers close this loop themselves; MJCF files made for torque control leave it out.
    """
    torque = actuator.ctrlrange * actuator.gainprm[0]
    stiffness = float(torque[1]) / FULL_EFFORT_ERROR
    actuator.forcerange, actuator.forcelimited = torque, mujoco.mjtLimited.mjLIMITED_TRUE
    actuator.ctrlrange, actuator.ctrllimited = (lower, upper), mujoco.mjtLimited.mjLIMITED_TRUE
    actuator.set_to_position(kp=stiffness, dampratio=1.0)
