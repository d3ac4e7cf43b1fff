"""Move the robot by keyboard or joystick (robot_learning/nodes/graphs.py)."""

from launch import LaunchDescription
from robot_learning.nodes.launching import description


def generate_launch_description() -> LaunchDescription:
    """What `ros2 launch robot_learning teleop.launch.py` starts."""
    return description("teleop")
