"""Practise by itself: forward, backward, forward again, judged by a reward model (robot_learning/nodes/graphs.py)."""

from launch import LaunchDescription
from robot_learning.nodes.launching import description


def generate_launch_description() -> LaunchDescription:
    """What `ros2 launch robot_learning practice.launch.py` starts."""
    return description("practice")
