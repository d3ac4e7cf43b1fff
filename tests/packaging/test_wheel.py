"""What an installed wheel holds, beyond modules: shared files, the ament marker and executables for `ros2 run`."""

import shutil
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PARTS = (
    "LICENSE",
    "MANIFEST.in",
    "README.md",
    "package.xml",
    "pyproject.toml",
    "setup.cfg",
    "setup.py",
    "constraints.txt",
)
FOLDERS = ("config", "launch", "models", "resource", "robot_learning", "scripts", "sim")
DATA = "robot_learning-0.1.0.data/data"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in PARTS:
        shutil.copy(ROOT / name, source)
    for name in FOLDERS:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-c", "import sys; from setuptools import build_meta as b; b.build_wheel(sys.argv[1])"]
    done = subprocess.run([*command, str(target)], cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return zipfile.ZipFile(next(target.glob("*.whl")))


@pytest.mark.parametrize("top", ["config", "sim", "launch", "models"])
def test_every_shared_file_is_installed(wheel: zipfile.ZipFile, top: str) -> None:
    files = [path for path in (ROOT / top).rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    wanted = {f"{DATA}/share/robot_learning/{path.relative_to(ROOT).as_posix()}" for path in files}
    assert wanted <= set(wheel.namelist())


def test_ament_finds_the_package(wheel: zipfile.ZipFile) -> None:
    marker = f"{DATA}/share/ament_index/resource_index/packages/robot_learning"
    assert {marker, f"{DATA}/share/robot_learning/package.xml"} <= set(wheel.namelist())


def test_ros2_run_finds_executables(wheel: zipfile.ZipFile) -> None:
    info = wheel.getinfo(f"{DATA}/lib/robot_learning/robot-learning")
    assert (info.external_attr >> 16) & stat.S_IXUSR


def test_the_command_is_an_entry_point(wheel: zipfile.ZipFile) -> None:
    text = wheel.read("robot_learning-0.1.0.dist-info/entry_points.txt").decode()
    assert "robot-learning = robot_learning.commands.main:main" in text


def test_every_module_and_template_is_installed(wheel: zipfile.ZipFile) -> None:
    files = [path for path in (ROOT / "robot_learning").rglob("*") if path.suffix in (".py", ".html", ".typed")]
    assert {path.relative_to(ROOT).as_posix() for path in files} <= set(wheel.namelist())


def test_tests_are_not_installed(wheel: zipfile.ZipFile) -> None:
    assert [name for name in wheel.namelist() if name.startswith(("tests/", "benchmarks/"))] == []
