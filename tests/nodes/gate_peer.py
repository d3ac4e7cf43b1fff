"""A process beside the safety gate that a test may kill: `python gate_peer.py source|estop|quiet_estop|writer|watched`."""

import sys

import rclpy
from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, LivelinessPolicy, QoSProfile
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool, Float64MultiArray

rclpy.init()
kind = sys.argv[1]
node = Node(f"peer_{kind}")


def repeat(message_type, topic, period, make):
    publisher = node.create_publisher(message_type, topic, 1)
    node.create_timer(period, lambda: publisher.publish(make()))


def action():
    message = JointState(name=["dx", "dy", "dz", "dyaw", "gripper"], position=[0.1, 0.0, 0.0, 0.0, 0.0])
    message.header.stamp = node.get_clock().now().to_msg()
    return message


if kind == "source":
    repeat(JointState, "policy/action", 0.1, action)
elif kind == "estop":
    repeat(Bool, "estop", 0.02, lambda: Bool(data=False))
elif kind == "quiet_estop":  # speaks once; the middleware vouches for it
    profile = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL, liveliness=LivelinessPolicy.AUTOMATIC)
    profile.liveliness_lease_duration = Duration(seconds=0.2)
    node.create_publisher(Bool, "estop", profile).publish(Bool(data=False))
elif kind == "writer":
    repeat(Float64MultiArray, "forward_position_controller/commands", 0.1, lambda: Float64MultiArray(data=[0.0] * 6))
elif kind == "watched":
    repeat(DiagnosticStatus, "recorder/status", 0.05, lambda: DiagnosticStatus(message="fine"))
rclpy.spin(node)
