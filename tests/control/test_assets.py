"""Names of MJCF files."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from robot_learning.control.assets import AssetError, mjcf_path


def test_ogbench_is_short_for_its_wheel():
    short = mjcf_path("ogbench:robotiq_2f85/2f85.xml")
    assert short.is_file()
    assert short == mjcf_path("wheel:ogbench:manipspace/descriptions/robotiq_2f85/2f85.xml")


def test_finding_a_wheel_does_not_import_it():
    sys.modules.pop("ogbench", None)
    mjcf_path("ogbench:robotiq_2f85/2f85.xml")
    assert "ogbench" not in sys.modules


def test_a_relative_path_is_relative_to_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "arm.xml").write_text("<mujoco/>")
    monkeypatch.chdir(tmp_path)
    assert mjcf_path("arm.xml").samefile(tmp_path / "arm.xml")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("no_such_arm.xml", "no_such_arm.xml"),
        ("ogbench:no/such.xml", "no file 'manipspace/descriptions/no/such.xml'"),
        ("wheel:no_such_package:arm.xml", "pip install no_such_package"),
        ("wheel:../etc:arm.xml", "wheel:<python package>:<file>"),
    ],
)
def test_a_missing_asset_says_what_to_do(name: str, expected: str):
    with pytest.raises(AssetError, match=expected.replace("<", r"\<")):
        mjcf_path(name)


@pytest.mark.skipif(importlib.util.find_spec("mujoco_menagerie") is not None, reason="mujoco-menagerie is installed")
def test_menagerie_without_its_package_says_how_to_install_it():
    with pytest.raises(AssetError, match=r"pip install mujoco-menagerie .*internet"):
        mjcf_path("menagerie:franka_emika_panda")
