import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from robot_learning import headless, paths
from robot_learning.commands import doctor
from robot_learning.commands.doctor import FAIL, OK, WARN, Check, Config


def one(checks: Iterator[Check], name: str) -> Check:
    return next(check for check in checks if check.name == name)


def test_this_machine_is_healthy(capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor.run(Config()) == 0
    assert "0 failed" in capsys.readouterr().out


def test_json_is_one_object(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "CHECKS", (doctor.python_version,))
    doctor.run(Config(json=True))
    report = json.loads(capsys.readouterr().out)
    assert report["healthy"] and report["checks"][0]["name"] == "python"


def test_a_failure_is_the_exit_code_and_comes_with_its_remedy(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "CHECKS", (lambda: iter([Check("lid", FAIL, "open", "close it")]),))
    assert doctor.run(Config()) == 1
    assert "-> close it" in capsys.readouterr().out


def test_a_check_that_breaks_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken_part() -> Iterator[Check]:
        raise ImportError("no such library")
        yield

    monkeypatch.setattr(doctor, "CHECKS", (broken_part,))
    assert [(c.status, c.found) for c in doctor.examine()] == [(FAIL, "ImportError: no such library")]


@pytest.mark.parametrize(
    ("version", "status"), [((3, 9, 18), FAIL), ((3, 10, 0), OK), ((3, 13, 1), OK), ((3, 14, 0), WARN)]
)
def test_python_versions(monkeypatch: pytest.MonkeyPatch, version: tuple[int, int, int], status: str) -> None:
    monkeypatch.setattr(sys, "version_info", version)
    check = one(doctor.python_version(), "python")
    assert check.status == status and bool(check.mend) == (status != OK)


def test_a_missing_dependency_is_named_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.importlib.metadata, "requires", lambda name: ["no-such-library>=1,<2"])
    check = one(doctor.dependencies(), "no-such-library")
    assert check.status == FAIL and check.mend == "pip install 'no-such-library<2,>=1'"


def test_a_version_outside_its_bounds_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.importlib.metadata, "requires", lambda name: ["numpy<1"])
    check = one(doctor.dependencies(), "numpy")
    assert check.status == FAIL and "needs <1" in check.found


def test_extras_are_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.importlib.metadata, "requires", lambda name: ['no-such-library; extra == "ros"'])
    assert [check.name for check in doctor.dependencies()] == ["robot_learning"]


def test_rendering_without_a_library_names_the_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.setattr(headless, "gl_backend", lambda: None)
    check = one(doctor.rendering(), "rendering")
    assert check.status == FAIL and "apt-get install libegl1" in check.mend


def test_rendering_with_a_broken_backend_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUJOCO_GL", "nonsense")
    assert one(doctor.rendering(), "rendering").status == FAIL


def test_a_broken_contract_does_not_hide_the_others(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    contracts = tmp_path / "config" / "contracts"
    contracts.mkdir(parents=True)
    (contracts / "a.yaml").write_text("name: [")
    (contracts / "b.yaml").write_text(paths.config("contracts", "ur5e_2f85.yaml").read_text())
    monkeypatch.setattr(paths, "share", lambda: tmp_path)
    assert [(c.name, c.status) for c in doctor.share_files()][1:] == [("robot a", FAIL), ("robot b", OK)]


def test_files_of_another_robot_are_optional(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    contracts = tmp_path / "config" / "contracts"
    contracts.mkdir(parents=True)
    text = paths.config("contracts", "ur5e_2f85.yaml").read_text()
    for name in ("other", "ur5e_2f85"):
        (contracts / f"{name}.yaml").write_text(text.replace("ogbench:", "wheel:not_installed:"))
    monkeypatch.setattr(paths, "share", lambda: tmp_path)
    assert [c.status for c in doctor.share_files()][1:] == [WARN, FAIL]


def test_threads_that_spin_are_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    assert "OMP_WAIT_POLICY=passive" in one(doctor.machine(), "threads").mend


def test_little_shared_memory_is_a_warning(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: SimpleNamespace(free=64 * 2**20))
    check = doctor.shared_memory(tmp_path)
    assert check.status == doctor.WARN and "64 MiB free" in check.found and "--shm-size" in check.mend


def test_enough_shared_memory_is_well(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: SimpleNamespace(free=2**30))
    assert doctor.shared_memory(tmp_path).status == doctor.OK


def test_a_dds_profile_that_does_not_exist_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("rclpy")
    monkeypatch.setenv("FASTDDS_DEFAULT_PROFILES_FILE", "/nowhere/profile.xml")
    assert any(check.name == "DDS profile" and "/nowhere/profile.xml" in check.found for check in doctor.ros())
