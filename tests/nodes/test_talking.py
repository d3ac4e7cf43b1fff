"""`robot-learning call` and `ask` against a node of another process."""

import threading

import pytest
from rclpy.publisher import Publisher
from std_msgs.msg import String
from std_srvs.srv import Trigger

from robot_learning.nodes.base import latched
from robot_learning.nodes.service_calls import ServiceError
from robot_learning.nodes.talking import ask, call


@pytest.fixture
def gate(graph):
    """A safety gate as a process, known to be there."""
    node = graph.node()
    graph.start("safety_gate")
    client = node.create_client(Trigger, "safety_gate/estop")
    graph.until(client.service_is_ready, "the gate")


def test_the_answer_of_a_service(gate) -> None:
    assert "the robot holds" in call("safety_gate/estop", wait=30)


def test_a_service_that_nobody_offers_lists_those_there_are(gate) -> None:
    with pytest.raises(ServiceError, match=r"nobody offers /safety_gate/fly.*'/safety_gate/estop'"):
        call("safety_gate/fly", wait=8)


def test_an_instruction_is_heard(graph) -> None:
    heard, told = [], []
    graph.node("hearer").create_subscription(String, "task", heard.append, latched())
    asking = threading.Thread(target=lambda: told.append(ask("close the drawer", wait=30)))
    asking.start()
    graph.until(lambda: not asking.is_alive() and heard, "the instruction")
    assert told == [["hearer"]]
    assert heard[0].data == "close the drawer"


def test_an_instruction_is_heard_by_who_is_found_last(graph) -> None:
    """The second to listen comes when the first has been found already."""
    graph.node("early").create_subscription(String, "task", lambda _: late(), latched())
    heard = []

    def late() -> None:
        if not hearers:
            hearers.append(graph.node("late"))
            hearers[0].create_subscription(String, "task", heard.append, latched())

    hearers: list[object] = []
    told = []
    asking = threading.Thread(target=lambda: told.append(ask("close the drawer", wait=30)))
    asking.start()
    graph.until(lambda: not asking.is_alive(), "the answer")
    assert told == [["early", "late"]]
    assert [message.data for message in heard] == ["close the drawer"]


def test_an_instruction_that_one_does_not_confirm_is_an_error(graph, monkeypatch: pytest.MonkeyPatch) -> None:
    """As of a node that hangs, or was killed and is still in the graph: nobody knows whether it will ever act on it."""
    monkeypatch.setattr(Publisher, "wait_for_all_acked", lambda *_: False)
    graph.node("frozen").create_subscription(String, "task", lambda _: None, latched())
    errors: list[str] = []

    def asks() -> None:
        with pytest.raises(ServiceError) as caught:
            ask("close the drawer", wait=30)
        errors.append(str(caught.value))

    asking = threading.Thread(target=asks)
    asking.start()
    graph.until(lambda: not asking.is_alive(), "the answer")
    assert errors and errors[0].startswith("not all who listen on /task have confirmed it within 30 s: frozen;")


def test_an_instruction_that_nobody_hears_is_an_error() -> None:
    with pytest.raises(ServiceError, match="nobody listens on /task"):
        ask("close the drawer", wait=0.5)
