"""The floor plan of the package: which room may import which, and that ROS stays in nodes/ and algorithms out of it."""

import ast
from pathlib import Path

import pytest

import robot_learning

PACKAGE = Path(robot_learning.__file__).parent
GROUND = {"errors", "paths", "headless", "folders", "settings"}
BELOW_TRAINING = GROUND | {
    "contract", "networks", "control", "data", "envs", "rewards", "policies", "algorithms"
}  # fmt: skip
MAY_IMPORT = {
    "errors": set(),
    "headless": set(),
    "folders": set(),
    "settings": {"errors"},
    "paths": {"errors"},
    "contract": {"errors", "paths"},
    "networks": {"errors"},
    "control": GROUND | {"contract"},
    "data": GROUND | {"contract", "control"},  # control: the assembler turns joints into the tool's pose
    "envs": GROUND | {"contract", "control"},
    "rewards": GROUND | {"networks"},
    # networks: a checkpoint's weights become a network again; control: a policy that gives up drives the arm back
    "policies": GROUND | {"contract", "control", "data", "networks"},
    "algorithms": GROUND | {"contract", "control", "networks", "data", "policies"},
    "training": BELOW_TRAINING,
    "nodes": BELOW_TRAINING | {"training"},
    "commands": BELOW_TRAINING | {"training"},
}
BRINGS_UP_THE_GRAPH = {"up", "status", "contract_check", "call", "ask", "_robot"}  # commands that may import nodes
ROS = {"rclpy", "rosidl_runtime_py", "launch", "launch_ros", "tf2_ros", "cv_bridge", "ament_index_python"}


def imports(source: str) -> set[str]:
    """Every module a source file imports, at its top or inside functions."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide which room they reach"
            module = node.module or ""
            found |= (
                {module} if module != "robot_learning" else {f"robot_learning.{alias.name}" for alias in node.names}
            )
    return found


def rooms_imported(source: str) -> set[str]:
    """The rooms of robot_learning that a source file imports."""
    ours = {name.split(".")[1] for name in imports(source) if name.startswith("robot_learning.")}
    return {name for name in ours if name in MAY_IMPORT}


def is_ros(module: str) -> bool:
    """Whether a module is ROS: its client library, its tools or a message package."""
    top = module.split(".")[0]
    return top in ROS or top.endswith(("_msgs", "_srvs", "_interfaces"))


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


FILES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_only_rooms_below(path: Path) -> None:
    room = room_of(path)
    assert room in MAY_IMPORT, f"{room} is not a room of the design; rooms: {sorted(MAY_IMPORT)}"
    allowed = MAY_IMPORT[room] | {room} | ({"nodes"} if path.stem in BRINGS_UP_THE_GRAPH else set())
    wrong = rooms_imported(path.read_text()) - allowed
    assert not wrong, f"{room} may import {sorted(allowed)}, found {sorted(wrong)}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_ros_stays_in_nodes(path: Path) -> None:
    if room_of(path) == "nodes":
        pytest.skip("nodes is where ROS belongs")
    assert not {module for module in imports(path.read_text()) if is_ros(module)}


def algorithm_parts(source: str) -> list[str]:
    """What a node must not define: networks and optimisers."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ClassDef):
            found += [node.name for base in node.bases if ast.unparse(base).endswith(("nn.Module", "Optimizer"))]
        if isinstance(node, ast.Call) and "optim." in ast.unparse(node.func):
            found.append(ast.unparse(node.func))
    return found


def test_no_algorithm_in_nodes() -> None:
    files = (PACKAGE / "nodes").rglob("*.py")
    assert {path.name: parts for path in files if (parts := algorithm_parts(path.read_text()))} == {}


def test_an_upward_import_is_seen() -> None:
    assert rooms_imported("def f():\n    from robot_learning.training import offline") == {"training"}


def test_a_room_imported_from_the_package_is_seen() -> None:
    assert rooms_imported("from robot_learning import paths") == {"paths"}


@pytest.mark.parametrize("module", ["rclpy.node", "sensor_msgs.msg", "std_srvs"])
def test_ros_modules_are_known(module: str) -> None:
    assert is_ros(module)


def test_a_network_in_a_node_is_seen() -> None:
    assert algorithm_parts("class Net(torch.nn.Module): pass\nopt = torch.optim.Adam([])") == [
        "Net",
        "torch.optim.Adam",
    ]
