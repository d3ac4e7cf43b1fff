"""docs/nodes.md says what the nodes and graphs really have."""

from pathlib import Path

import pytest

from robot_learning.nodes import reference

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
    assert "old" not in fresh and "real_time_factor" in fresh
    assert fresh.startswith("before\n") and fresh.endswith("after\n")
