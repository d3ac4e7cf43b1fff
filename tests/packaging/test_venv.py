"""`.ci/venv` names what is missing on a fresh machine together with the command that installs it."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NAMES = ("python3", "python3.10", "python3.11", "python3.12", "python3.13")


class Machine:
    """A checkout and a PATH with the Pythons that a test puts there."""

    def __init__(self, folder: Path) -> None:
        self.checkout, self.bin = folder / "checkout", folder / "bin"
        (self.checkout / ".ci").mkdir(parents=True)
        self.bin.mkdir()
        shutil.copy(ROOT / ".ci" / "venv", self.checkout / ".ci")
        for name in NAMES:
            self.script(name, "exit 127")
        self.script("apt-cache", "echo python3.11; echo python3.1; echo python3.11-venv")

    def script(self, name: str, body: str) -> None:
        path = self.bin / name
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)

    def python(self, name: str, version: str, venv: bool = True) -> None:
        """A stand-in that answers what `.ci/venv` asks of an interpreter."""
        supported = version in ("3.10", "3.11", "3.12", "3.13")
        self.script(
            name,
            f'case "$*" in *ensurepip*) exit {0 if venv else 1};; *sys.exit*) exit {0 if supported else 1};; '
            f"*print*) echo {version};; --version) echo Python {version};; "
            f'*"-m venv"*) mkdir -p .venv/bin; echo "made with $0";; esac',
        )

    def make_venv(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PATH": f"{self.bin}:/usr/bin:/bin"}
        command = ["bash", str(self.checkout / ".ci" / "venv"), *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_a_supported_python_is_found(machine: Machine) -> None:
    machine.python("python3.12", "3.12")
    assert "making .venv with python3.12" in machine.make_venv().stdout


def test_the_choice_is_remembered(machine: Machine) -> None:
    machine.python("python3", "3.11")
    machine.make_venv()
    assert (machine.checkout / ".venv" / ".python").read_text() == "python3\n"


def test_too_old_a_python_names_what_apt_offers(machine: Machine) -> None:
    machine.python("python3", "3.9")
    done = machine.make_venv()
    assert done.returncode == 1
    assert "found 3.9" in done.stderr and "sudo apt-get install python3.11 python3.11-venv" in done.stderr


def test_no_python_at_all(machine: Machine) -> None:
    assert "found none" in machine.make_venv().stderr


def test_too_new_a_default_python_gives_way_to_a_supported_one(machine: Machine) -> None:
    machine.python("python3", "3.14")
    machine.python("python3.13", "3.13")
    assert "making .venv with python3.13" in machine.make_venv().stdout


def test_a_missing_venv_module_names_its_package(machine: Machine) -> None:
    machine.python("python3", "3.11", venv=False)
    done = machine.make_venv()
    assert done.returncode == 1 and "sudo apt-get install python3.11-venv" in done.stderr


def test_an_unsuitable_choice_is_refused(machine: Machine) -> None:
    machine.python("python3.8", "3.8")
    done = machine.make_venv("python3.8")
    assert done.returncode == 1 and "python3.8 is Python 3.8; needs 3.10 to 3.13" in done.stderr


def test_a_choice_that_is_not_there_is_refused(machine: Machine) -> None:
    assert "there is no python3.99" in machine.make_venv("python3.99").stderr


def test_a_working_venv_is_kept(machine: Machine) -> None:
    machine.python("python3", "3.11")
    (machine.checkout / ".venv" / "bin").mkdir(parents=True)
    machine.python("python", "3.11")
    shutil.move(machine.bin / "python", machine.checkout / ".venv" / "bin" / "python")
    assert "making" not in machine.make_venv().stdout
