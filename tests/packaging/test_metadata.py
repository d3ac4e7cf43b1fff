"""Names, versions, bounds and pins agree across setup.py, package.xml, constraints.txt and the code."""

import ast
import re
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import robot_learning

ROOT = Path(__file__).parents[2]
PYTHONS = ("3.10", "3.11", "3.12", "3.13")
DISTRIBUTIONS = {
    "cv2": "opencv-python-headless",
    "yaml": "pyyaml",
    "PIL": "pillow",
    "stable_baselines3": "stable-baselines3",
}
OPTIONAL = {
    "h5py",
    "minari",
    "mujoco_menagerie",
    "peft",
    "tokenizers",
    "transformers",
}  # imported inside functions, with a word about the extra


def setup_value(name: str) -> object:
    """The literal that setup.py assigns to `name`."""
    for node in ast.parse((ROOT / "setup.py").read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            return ast.literal_eval(node.value)
    raise AssertionError(f"setup.py assigns no {name}")


def core() -> dict[str, Requirement]:
    lines = setup_value("install_requires")
    assert isinstance(lines, list)
    return {canonicalize_name(r.name): r for r in map(Requirement, lines)}


def pins() -> list[Requirement]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def pinned(python: str) -> dict[str, str]:
    """The pinned version of each package under a Python version."""
    marked = [p for p in pins() if p.marker is None or p.marker.evaluate({"python_version": python})]
    return {canonicalize_name(p.name): next(iter(p.specifier)).version for p in marked}


def third_party_imports() -> set[str]:
    names = set()
    for path in (ROOT / "robot_learning").rglob("*.py"):
        if "nodes" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                names.add(node.module.split(".")[0])
    return names - set(sys.stdlib_module_names) - {"robot_learning"}


def test_every_import_is_a_dependency() -> None:
    needed = {canonicalize_name(DISTRIBUTIONS.get(name, name)) for name in third_party_imports() - OPTIONAL}
    # packaging comes with matplotlib; doctor reports, not breaks, when it is away
    assert needed - core().keys() - {"packaging"} == set()


@pytest.mark.parametrize("name", core())
def test_bounds_are_closed(name: str) -> None:
    assert {spec.operator for spec in core()[name].specifier} == {">=", "<"}


@pytest.mark.parametrize("python", PYTHONS)
def test_the_tested_set_lies_within_the_bounds(python: str) -> None:
    versions = pinned(python)
    outside = {
        n: versions.get(n) for n, r in core().items() if n not in versions or not r.specifier.contains(versions[n])
    }
    assert outside == {}


@pytest.mark.parametrize("python", PYTHONS)
def test_each_package_is_pinned_once(python: str) -> None:
    marked = [
        canonicalize_name(p.name) for p in pins() if p.marker is None or p.marker.evaluate({"python_version": python})
    ]
    assert sorted(marked) == sorted(set(marked))


def test_package_xml_agrees_with_the_code() -> None:
    package = ElementTree.parse(ROOT / "package.xml").getroot()
    assert package.get("format") == "3"
    assert (package.findtext("name"), package.findtext("version")) == ("robot_learning", robot_learning.__version__)
    assert package.findtext("export/build_type") == "ament_python"


def test_setup_has_the_version_of_the_code() -> None:
    assert f'version="{robot_learning.__version__}"' in (ROOT / "setup.py").read_text()


def test_the_licence_is_apache() -> None:
    assert "Apache License" in (ROOT / "LICENSE").read_text()[:200]


@pytest.mark.parametrize("name", ["setup.py", "constraints.txt", "Makefile", "pyproject.toml", ".ci/run", ".ci/venv"])
def test_no_registry_is_named(name: str) -> None:
    assert not re.search(r"index-url|pypi\.org|find-links", (ROOT / name).read_text())
