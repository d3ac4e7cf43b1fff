"""Who publishes on a topic, as the graph knows it."""

from __future__ import annotations

from rclpy.node import Node
from rclpy.topic_endpoint_info import TopicEndpointInfo

UNKNOWN = "_NODE_NAME_UNKNOWN_"  # the graph's word for a writer whose node has not been heard of yet


def full_name(info: TopicEndpointInfo) -> str:
    """Namespace and name of the node that has this end of a topic."""
    if info.node_name == UNKNOWN:
        return "a node of unknown name"
    return f"{info.node_namespace.rstrip('/')}/{info.node_name}"


def others_who_write(node: Node, topic: str) -> list[str]:
    """Full names of the nodes beside `node` that publish on a topic."""
    found = [full_name(info) for info in node.get_publishers_info_by_topic(topic)]
    me = node.get_fully_qualified_name()
    if me in found:
        found.remove(me)  # once: a second node of the same name is another writer
    return found
