from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from robot_learning.commands import status
from robot_learning.nodes import listening
from robot_learning.nodes.base import reliable
from robot_learning.nodes.listening import HealthListener


def publish(graph, health: HealthListener, level: bytes, message: str) -> None:
    publisher = graph.node("reporter").create_publisher(DiagnosticArray, "/diagnostics", reliable(5))
    graph.until(lambda: publisher.get_subscription_count(), "the listener")
    said = DiagnosticStatus(level=level, name="/policy", message=message, values=[KeyValue(key="p50", value="5")])
    publisher.publish(DiagnosticArray(status=[said]))
    graph.until(health.reports, "the report")


def test_a_report_is_shown_with_its_values(graph) -> None:
    health = HealthListener(graph.node("status"))
    publish(graph, health, DiagnosticStatus.WARN, "waiting for an instruction")
    (report,) = health.reports()
    assert (report.name, report.level, report.message) == ("/policy", "WARN", "waiting for an instruction")
    assert report.values == {"p50": "5"}


def test_a_node_that_falls_silent_is_shown_as_silent(graph, monkeypatch) -> None:
    health = HealthListener(graph.node("status"))
    publish(graph, health, DiagnosticStatus.OK, "acting")
    monkeypatch.setattr(listening, "SILENT", 0.0)
    (report,) = health.reports()
    assert report.level == "SILENT" and "last: acting" in report.message


def test_an_error_is_the_exit_code(graph, capsys) -> None:
    health = HealthListener(graph.node("status"))
    publish(graph, health, DiagnosticStatus.ERROR, "no action")
    assert status._print(health.reports(), as_json=True) == 1
    assert '"well": false' in capsys.readouterr().out


def test_nobody_reporting_is_not_well(capsys) -> None:
    assert status._print([], as_json=False) == 1
    assert "no node reports" in capsys.readouterr().out
