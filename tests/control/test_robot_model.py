"""The robot's model: names, gripper, frames, errors."""

from __future__ import annotations

import dataclasses
import warnings
from pathlib import Path

import mujoco
import numpy as np
import pytest

from robot_learning.contract import Contract
from robot_learning.control.robot_model import RobotModelError, robot_spec

from .own_arm import own_contract


@pytest.fixture(scope="module")
def model(contract: Contract) -> mujoco.MjModel:
    return robot_spec(contract).compile()


def with_simulation(contract: Contract, **changes: object) -> Contract:
    assert contract.simulation is not None
    return dataclasses.replace(contract, simulation=dataclasses.replace(contract.simulation, **changes))


def test_every_name_of_the_contract_is_in_the_model(contract: Contract, model: mujoco.MjModel):
    simulation = contract.simulation
    assert simulation is not None
    for name in (*contract.joints.names, simulation.gripper_joint):
        model.joint(name)
    for name in (*simulation.arm_actuators, simulation.gripper_actuator):
        model.actuator(name)
    model.site(simulation.tcp_site)


def test_lights_and_keyframes_are_gone(model: mujoco.MjModel):
    assert (model.nlight, model.nkey) == (0, 0)


def test_the_gripper_file_survives_whole(model: mujoco.MjModel):
    assert (model.nexclude, model.neq, model.ntendon) == (6, 3, 1)
    assert model.joint("right_driver_joint").range == pytest.approx([0.0, 0.8])  # from its default class
    assert model.geom("gripper_right_pad1").friction[0] == pytest.approx(0.7)


def test_the_fingers_close_and_open_again(contract: Contract, model: mujoco.MjModel):
    data = mujoco.MjData(model)
    data.qpos[:6] = data.ctrl[:6] = contract.joints.home
    opening = []
    for command in (255.0, 0.0):
        data.ctrl[6] = command
        for _ in range(500):
            mujoco.mj_step(model, data)
        opening.append(np.linalg.norm(data.geom("gripper_right_pad1").xpos - data.geom("gripper_left_pad1").xpos))
    assert opening[0] < 0.015
    assert opening[1] > 0.085


def test_the_arm_does_not_sag(contract: Contract, model: mujoco.MjModel):
    data = mujoco.MjData(model)
    data.qpos[:6] = data.ctrl[:6] = contract.joints.home
    for _ in range(500):
        mujoco.mj_step(model, data)
    assert data.qpos[:6] == pytest.approx(contract.joints.home, abs=1e-4)


def test_at_zero_the_arm_points_along_x_of_base_link(contract: Contract, model: mujoco.MjModel):
    # As in Universal Robots' own URDF: all joints at zero, the arm lies stretched along +x of base_link.
    data = mujoco.MjData(model)
    mujoco.mj_kinematics(model, data)
    wrist = data.body("wrist_3_link").xpos
    assert wrist[0] == pytest.approx(0.817, abs=0.005)
    assert abs(wrist[1]) < 0.25


def test_it_compiles_without_warnings_and_can_be_copied_and_saved(contract: Contract, tmp_path: Path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        spec = robot_spec(contract)
        copy = spec.copy()
        spec.compile()
        assert copy.compile().nq == 14
    assert "right_driver_joint" in spec.to_xml()


def test_an_arm_with_its_gripper_in_one_file(own_arm: Contract):
    model = robot_spec(own_arm).compile()
    assert (model.nq, model.nu, model.nlight, model.nkey) == (9, 8, 0, 0)
    assert model.body("pedestal").pos == pytest.approx([0, 0, 0])
    assert model.body("pedestal").quat == pytest.approx([1, 0, 0, 0])


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"tcp_site": "nose"}, r"simulation\.tcp_site names 'nose'.*'pinch'"),
        ({"flange_site": "nose"}, r"simulation\.flange_site names 'nose'.*'attachment_site'"),
        ({"gripper_joint": "nose"}, r"simulation\.gripper_joint names 'nose'.*'shoulder_pan_joint'"),
        ({"gripper_actuator": "nose"}, r"simulation\.gripper_actuator names 'nose'.*'elbow'"),
        ({"arm_actuators": ("shoulder_pan",)}, r"arm_actuators has 1 entries for 6 joints"),
    ],
)
def test_a_name_the_model_lacks_is_an_error_that_lists_its_names(contract: Contract, change: dict, expected: str):
    with pytest.raises(RobotModelError, match=expected):
        robot_spec(with_simulation(contract, **change))


def test_actuators_in_another_order_than_their_joints_are_an_error(contract: Contract):
    first, second, *others = contract.simulation.arm_actuators
    with pytest.raises(
        RobotModelError, match=r"expected one that moves the joint 'shoulder_pan_joint' .*'shoulder_lift', which moves"
    ):
        robot_spec(with_simulation(contract, arm_actuators=(second, first, *others)))


def test_an_unknown_joint_is_an_error(contract: Contract):
    joints = dataclasses.replace(contract.joints, names=("hip", *contract.joints.names[1:]))
    with pytest.raises(RobotModelError, match=r"joints\.names names 'hip'"):
        robot_spec(dataclasses.replace(contract, joints=joints))


def test_a_contract_without_simulation_is_an_error(contract: Contract):
    with pytest.raises(RobotModelError, match="no `simulation` section"):
        robot_spec(dataclasses.replace(contract, simulation=None))


def test_a_broken_mjcf_names_the_file(tmp_path: Path):
    data = own_contract(tmp_path)
    (tmp_path / "own_arm.xml").write_text("<mujoco><worldbody><body></worldbody></mujoco>")
    with pytest.raises(RobotModelError, match=r"own_arm\.xml is not a valid MJCF"):
        robot_spec(Contract.from_dict(data))


def test_a_name_both_files_have_is_an_error(contract: Contract, tmp_path: Path):
    gripper = tmp_path / "gripper.xml"
    gripper.write_text(
        "<mujoco><worldbody><body><joint name='right_driver_joint'/><geom size='.1'/><site name='attachment_site'/>"
        "</body></worldbody><actuator><motor name='fingers_actuator' joint='right_driver_joint'/></actuator></mujoco>"
    )
    with pytest.raises(RobotModelError, match=r"both name something 'attachment_site'"):
        robot_spec(with_simulation(contract, gripper=str(gripper), tcp_site="attachment_site"))


def motorised(tmp_path: Path, motor: str) -> Contract:
    data = own_contract(tmp_path)
    path = tmp_path / "own_arm.xml"
    path.write_text(path.read_text().replace('<position name="a2" joint="j2" kp="500"/>', motor))
    return Contract.from_dict(data)


def test_a_torque_motor_becomes_a_position_servo_of_the_same_strength(tmp_path: Path):
    own_arm = motorised(tmp_path, '<motor name="a2" joint="j2" ctrlrange="-80 80"/>')
    model = robot_spec(own_arm).compile()
    assert model.actuator("a2").forcerange.tolist() == [-80.0, 80.0]
    data = mujoco.MjData(model)
    data.qpos[:7] = data.ctrl[:7] = own_arm.joints.home
    data.ctrl[1] = 0.8
    for _ in range(1000):
        mujoco.mj_step(model, data)
    assert data.joint("j2").qpos[0] == pytest.approx(0.8, abs=2e-3)


@pytest.mark.parametrize(
    "motor",
    ['<motor name="a2" joint="j2"/>', '<velocity name="a2" joint="j2" kv="10"/>'],
    ids=["unlimited", "velocity"],
)
def test_an_actuator_that_takes_no_position_is_an_error(tmp_path: Path, motor: str):
    with pytest.raises(RobotModelError, match="'a2' takes no joint position"):
        robot_spec(motorised(tmp_path, motor))
