"""Judge success from the pictures of a robot that runs already (robot_learning/nodes/graphs.py)."""

from launch import LaunchDescription
from robot_learning.nodes.launching import description


def generate_launch_description() -> LaunchDescription:
    """What `ros2 launch robot_learning reward.launch.py` starts."""
    return description("reward")
