"""A seven-joint arm of primitives with a two-finger slide gripper in the same MJCF file, and its contract."""

from __future__ import annotations

from pathlib import Path
from typing import Any

JOINTS = tuple(f"j{i}" for i in range(1, 8))

MJCF = """
<mujoco model="own_arm">
  <compiler angle="radian"/>
  <default><geom contype="0" conaffinity="0"/><joint armature="0.1"/><position dampratio="1"/></default>
  <worldbody>
    <light name="lamp" pos="0 0 3"/>
    <body name="pedestal" pos="0.3 0.2 0.1" euler="0 0 1">
      <geom type="cylinder" size="0.08 0.05"/>
      <body name="l1" pos="0 0 0.2"><joint name="j1" axis="0 0 1"/><geom type="capsule" fromto="0 0 0 0 0 0.1" size="0.05"/>
       <body name="l2" pos="0 0 0.1"><joint name="j2" axis="0 1 0"/><geom type="capsule" fromto="0 0 0 0 0 0.2" size="0.05"/>
        <body name="l3" pos="0 0 0.2"><joint name="j3" axis="0 0 1"/><geom type="capsule" fromto="0 0 0 0 0 0.2" size="0.05"/>
         <body name="l4" pos="0 0 0.2"><joint name="j4" axis="0 1 0"/><geom type="capsule" fromto="0 0 0 0 0 0.2" size="0.04"/>
          <body name="l5" pos="0 0 0.2"><joint name="j5" axis="0 0 1"/><geom type="capsule" fromto="0 0 0 0 0 0.2" size="0.04"/>
           <body name="l6" pos="0 0 0.2"><joint name="j6" axis="0 1 0"/><geom type="capsule" fromto="0 0 0 0 0 0.1" size="0.04"/>
            <body name="l7" pos="0 0 0.1"><joint name="j7" axis="0 0 1"/><geom type="box" size="0.04 0.04 0.01"/>
             <site name="grasp" pos="0 0 0.1" euler="0 0 3.14159265"/>
             <body name="left" pos="0 0.04 0.03"><joint name="left_slide" type="slide" axis="0 -1 0" range="0 0.035"/>
               <geom type="box" size="0.01 0.005 0.05" pos="0 0 0.05"/></body>
             <body name="right" pos="0 -0.04 0.03"><joint name="right_slide" type="slide" axis="0 1 0" range="0 0.035"/>
               <geom type="box" size="0.01 0.005 0.05" pos="0 0 0.05"/></body>
            </body></body></body></body></body></body></body>
    </body>
  </worldbody>
  <equality><joint joint1="left_slide" joint2="right_slide"/></equality>
  <actuator>
    <position name="a1" joint="j1" kp="500"/><position name="a2" joint="j2" kp="500"/>
    <position name="a3" joint="j3" kp="500"/><position name="a4" joint="j4" kp="500"/>
    <position name="a5" joint="j5" kp="500"/><position name="a6" joint="j6" kp="500"/>
    <position name="a7" joint="j7" kp="500"/><position name="fingers" joint="left_slide" kp="100" ctrlrange="0 0.035"/>
  </actuator>
  <keyframe><key name="home" qpos="0 0 0 0 0 0 0 0 0"/></keyframe>
</mujoco>
"""


def own_contract(folder: Path, **simulation: Any) -> dict[str, Any]:
    """Write the MJCF into `folder`; its contract as plain data, `simulation` entries replaced."""
    path = folder / "own_arm.xml"
    path.write_text(MJCF)
    return {
        "name": "own_arm",
        "rate": 20.0,
        "base_frame": "pedestal",
        "tcp_frame": "grasp",
        "joints": {
            "names": list(JOINTS),
            "lower": [-2.9] * 7,
            "upper": [2.9] * 7,
            "velocity": [2.0] * 7,
            "home": [0.0, 0.4, 0.0, 1.6, 0.0, 1.1415926, 0.0],
        },
        "gripper": {"joint": "finger_joint_of_the_driver", "open": 0.0, "closed": 0.035},
        "workspace": {"lower": [0.25, -0.3, -0.1], "upper": [0.6, 0.3, 0.4]},
        "observation": {
            "observation.state": {
                "topic": "joint_states",
                "type": "sensor_msgs/msg/JointState",
                "dtype": "float32",
                "rate": 100.0,
                "max_age": 0.1,
                "names": list(JOINTS),
            }
        },
        "action": {
            "topic": "commands",
            "type": "std_msgs/msg/Float64MultiArray",
            "names": ["dx", "dy", "dz", "dyaw", "gripper"],
            "units": ["m", "m", "m", "rad", "1"],
            "scale": [0.02, 0.02, 0.02, 0.1, 0.5],
        },
        "simulation": {
            "arm": str(path),
            "arm_actuators": [f"a{i}" for i in range(1, 8)],
            "tcp_site": "grasp",
            "gripper_actuator": "fingers",
            "gripper_joint": "left_slide",
            "gripper_command_open": 0.0,
            "gripper_command_closed": 0.035,
            **simulation,
        },
    }
