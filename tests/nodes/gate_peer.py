"""A process beside the safety gate that a test may kill.

`python gate_peer.py source|estop|quiet_estop|watched`, or `writer TOPIC` (10 Hz), `best_effort_writer TOPIC`,
`silent_writer TOPIC` of a command topic. A writer sends only when somebody hears it, and then prints when it first did
[ns, system time].
"""

import sys
import time

import rclpy
import rclpy.utilities
from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, LivelinessPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool, Float64MultiArray

ARM = [0.05, -1.55, 1.55, -1.55, -1.55, 0.05]  # near the UR5e's home, and nothing that the gate sends
GRIPPER = [0.4321]


def repeat(node, message_type, topic, period, make):
    publisher = node.create_publisher(message_type, topic, 1)
    node.create_timer(period, lambda: publisher.publish(make()))


def action(node):
    message = JointState(name=["dx", "dy", "dz", "dyaw", "gripper"], position=[0.1, 0.0, 0.0, 0.0, 0.0])
    message.header.stamp = node.get_clock().now().to_msg()
    return message


def write(node, topic, reliability):
    """As a second writer would: the first command goes to whoever is there to hear it."""
    publisher = node.create_publisher(Float64MultiArray, topic, QoSProfile(depth=1, reliability=reliability))
    command = Float64MultiArray(data=GRIPPER if "gripper" in topic else ARM)
    while not publisher.get_subscription_count():
        time.sleep(0.001)
    print(time.time_ns(), flush=True)
    publisher.publish(command)
    node.create_timer(0.1, lambda: publisher.publish(command))


def main(kind, *arguments):
    rclpy.init()
    node = Node(f"peer_{kind}")
    if kind == "source":
        repeat(node, JointState, "policy/action", 0.1, lambda: action(node))
    elif kind == "estop":
        repeat(node, Bool, "estop", 0.02, lambda: Bool(data=False))
    elif kind == "quiet_estop":  # speaks once; the middleware vouches for it
        profile = QoSProfile(
            depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL, liveliness=LivelinessPolicy.AUTOMATIC
        )
        profile.liveliness_lease_duration = Duration(seconds=0.2)
        node.create_publisher(Bool, "estop", profile).publish(Bool(data=False))
    elif kind == "writer":
        write(node, arguments[0], ReliabilityPolicy.RELIABLE)
    elif kind == "best_effort_writer":
        write(node, arguments[0], ReliabilityPolicy.BEST_EFFORT)
    elif kind == "silent_writer":
        node.create_publisher(Float64MultiArray, arguments[0], 1)
    elif kind == "watched":
        repeat(node, DiagnosticStatus, "recorder/status", 0.05, lambda: DiagnosticStatus(message="fine"))
    rclpy.spin(node)


if __name__ == "__main__":
    main(*rclpy.utilities.remove_ros_args(sys.argv)[1:])
