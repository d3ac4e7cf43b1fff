import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from robot_learning import paths
from robot_learning.errors import UserError

CODE = Path(paths.__file__).parent
PROBE = "from robot_learning import paths; print(paths.share())"


def installed(prefix: Path) -> Path:
    """A copy of the modules under `prefix`, as pip and colcon place them; returns the folder for `sys.path`."""
    site = prefix / "lib" / f"python3.{sys.version_info.minor}" / "site-packages"
    package = site / "robot_learning"
    package.mkdir(parents=True)
    for name in ("__init__", "headless", "errors", "paths"):
        shutil.copy(CODE / f"{name}.py", package)
    return site


def shared(prefix: Path) -> Path:
    """Shared files under `prefix`."""
    for name in ("config", "sim"):
        (prefix / "share" / "robot_learning" / name).mkdir(parents=True)
    return prefix / "share" / "robot_learning"


def probe(site: Path, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """What a fresh interpreter without any installed package finds."""
    variables = {"PYTHONPATH": str(site), **environment}
    command = [sys.executable, "-S", "-c", PROBE]
    return subprocess.run(command, env=variables, cwd=cwd, capture_output=True, text=True, check=False)


def test_share_of_this_installation_is_complete() -> None:
    assert (paths.share() / "config").is_dir() and (paths.share() / "sim").is_dir()


def test_parts_are_joined() -> None:
    assert paths.config("contracts", "x.yaml") == paths.share() / "config" / "contracts" / "x.yaml"


def test_sim_and_models_lie_beside_config() -> None:
    assert paths.sim("a").parent.parent == paths.models("b").parent.parent == paths.share()


def test_share_of_an_installation_is_found_from_another_folder(tmp_path: Path) -> None:
    site, share = installed(tmp_path / "prefix"), shared(tmp_path / "prefix")
    assert probe(site, tmp_path).stdout.strip() == str(share)


def test_share_of_an_ament_prefix_is_found(tmp_path: Path) -> None:
    site, share = installed(tmp_path / "a"), shared(tmp_path / "b")
    prefixes = f"{tmp_path / 'none'}:{tmp_path / 'b'}"
    assert probe(site, tmp_path, AMENT_PREFIX_PATH=prefixes).stdout.strip() == str(share)


def test_a_checkout_wins_over_an_ament_prefix(tmp_path: Path) -> None:
    shared(tmp_path / "b")
    checkout = tmp_path / "checkout"
    for name in ("robot_learning", "config", "sim"):
        (checkout / name).mkdir(parents=True)
    (checkout / "package.xml").touch()
    for name in ("__init__", "headless", "errors", "paths"):
        shutil.copy(CODE / f"{name}.py", checkout / "robot_learning")
    assert probe(checkout, tmp_path, AMENT_PREFIX_PATH=str(tmp_path / "b")).stdout.strip() == str(checkout)


def test_missing_files_list_where_it_looked(tmp_path: Path) -> None:
    site = installed(tmp_path / "prefix")
    assert str(tmp_path / "prefix" / "share" / "robot_learning") in probe(site, tmp_path).stderr


def test_missing_files_are_an_error_the_user_can_mend(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(paths, "share_candidates", lambda: [tmp_path])
    with pytest.raises(UserError, match=r"pip install \."):
        paths.share()
