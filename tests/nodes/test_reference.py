"""docs/nodes.md says what the nodes and graphs really have."""

from pathlib import Path

import pytest

from robot_learning.nodes import reference
from robot_learning.rewards import save_reward
from tests.nodes.reward_stand_in import make_model

DOCUMENT = Path(__file__).parents[2] / "docs" / "nodes.md"
SECTIONS = reference.sections()


@pytest.mark.parametrize("name", SECTIONS)
def test_every_table_is_as_the_code_says(name: str) -> None:
    found = reference.section(DOCUMENT.read_text(), name)
    assert found is not None, f"docs/nodes.md lacks the section <!-- {name} --> ... <!-- end -->"
    assert found == SECTIONS[name], "mend it with: python -m robot_learning.nodes.reference"


def test_every_parameter_has_a_row() -> None:
    text = DOCUMENT.read_text()
    for name, config in reference.node_configs().items():
        table = reference.section(text, f"parameters of {name}") or ""
        common = reference.section(text, "parameters of every node") or ""
        missing = [field for field in config.__dataclass_fields__ if f"| `{field}` |" not in table + common]
        assert not missing, f"{name}: {missing}"


def test_a_stale_table_is_refreshed() -> None:
    text = "before\n<!-- arguments of sim -->\n| old |\n<!-- end -->\nafter\n"
    fresh = reference.refreshed(text)
    assert "| old |" not in fresh and "real_time_factor" in fresh
    assert fresh.startswith("before\n") and fresh.endswith("after\n")


STANDARD = (
    "/rosout",
    "/parameter_events",
    "/transition_event",
    "_parameters",
    "_parameter_types",
    "_parameters_atomically",
    "/get_type_description",
)
LIFECYCLE = (
    "/change_state",
    "/get_state",
    "/get_available_states",
    "/get_available_transitions",
    "/get_transition_graph",
)


@pytest.mark.parametrize(
    ("name", "last"),
    [("sim_robot", "sim_robot/home"), ("safety_gate", "safety_gate/action_sent"), ("reward", "reward/judged")],
)
def test_topics_and_services_of_the_running_node_are_in_its_section(
    graph, name: str, last: str, tmp_path: Path
) -> None:
    node = graph.node()
    graph.start(name, **({"model": str(save_reward(tmp_path / "model", make_model()))} if name == "reward" else {}))
    found: set[str] = set()

    def complete() -> bool:
        for ask in (
            node.get_publisher_names_and_types_by_node,
            node.get_subscriber_names_and_types_by_node,
            node.get_service_names_and_types_by_node,
        ):
            if name in node.get_node_names():
                found.update(topic for topic, _ in ask(name, "/"))
        return f"/{last}" in found

    graph.until(complete, f"/{last}")
    text = DOCUMENT.read_text()
    described = "".join(text.split(f"\n## {title}\n")[1].split("\n## ")[0] for title in ("Every node", name))
    own = {topic for topic in found if not topic.endswith(STANDARD + LIFECYCLE)}
    shown = {
        topic: (f"~/{topic.split('/')[2]}" if topic.startswith(f"/{name}/") else topic.lstrip("/")) for topic in own
    }
    missing = [
        topic for topic, short in shown.items() if f"`{short}`" not in described and f"`{topic}`" not in described
    ]
    assert not missing, f"docs/nodes.md, section {name}, lacks {sorted(missing)}"
