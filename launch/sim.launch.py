"""The simulated robot and its safety gate (robot_learning/nodes/graphs.py)."""

from launch import LaunchDescription
from robot_learning.nodes.launching import description


def generate_launch_description() -> LaunchDescription:
    """What `ros2 launch robot_learning sim.launch.py` starts."""
    return description("sim")
