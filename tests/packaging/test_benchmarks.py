"""The benchmarks, which no test runs, import nothing that is not there."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BENCHMARKS = ROOT / "benchmarks"


def source_of(module: str) -> Path | None:
    """The file of a module of the package or of the benchmarks, None for others'; that of a package is its `__init__.py`."""
    path = (ROOT if module.split(".")[0] == "robot_learning" else BENCHMARKS).joinpath(*module.split("."))
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)


def names_in(path: Path) -> set[str]:
    """What a module defines or imports, wherever at its top."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
    return found


def lacking(source: str) -> list[str]:
    """What a source file imports of the package or the benchmarks that is not there."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            ours = [alias.name for alias in node.names if alias.name.startswith("robot_learning.")]
            found += [name for name in ours if source_of(name) is None]
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            path = source_of(node.module)
            if path is None:
                found += [node.module] if node.module.startswith("robot_learning") else []
                continue
            found += [
                f"{node.module}.{alias.name}"
                for alias in node.names
                if alias.name not in names_in(path) and source_of(f"{node.module}.{alias.name}") is None
            ]
    return found


@pytest.mark.parametrize("script", sorted(BENCHMARKS.glob("*.py")), ids=lambda path: path.stem)
def test_a_benchmark_finds_what_it_imports(script: Path) -> None:
    assert lacking(script.read_text()) == []


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("from kept_jobs import KeptJobs", []),
        ("from robot_learning import paths", []),
        ("from robot_learning.data import Dataset", []),
        ("from numpy import nothing", []),
        ("from kept_jobs import Gone", ["kept_jobs.Gone"]),
        ("from robot_learning.gone import Dataset", ["robot_learning.gone"]),
        ("import robot_learning.gone", ["robot_learning.gone"]),
    ],
)
def test_an_import_of_what_is_not_there_is_seen(line: str, told: list[str]) -> None:
    assert lacking(line) == told
