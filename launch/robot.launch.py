"""A real robot: its cameras and its safety gate, at a tenth of the speed (robot_learning/nodes/graphs.py)."""

from launch import LaunchDescription
from robot_learning.nodes.launching import description


def generate_launch_description() -> LaunchDescription:
    """What `ros2 launch robot_learning robot.launch.py` starts."""
    return description("robot")
