from pathlib import Path

import pytest
import torch

from robot_learning.training import run_state
from robot_learning.training.run_state import RunError, load_state, save_state, state_of

TENSORS = {"a": torch.arange(3.0), "b": torch.tensor(7)}


def test_tensors_and_progress_come_back(tmp_path: Path) -> None:
    save_state(tmp_path, TENSORS, {"step": 5, "sums": {"loss": 0.1 + 0.2}})
    saved = load_state(tmp_path)
    assert saved is not None
    assert all(torch.equal(saved[0][key], value) for key, value in TENSORS.items())
    assert saved[1] == {"step": 5, "sums": {"loss": 0.1 + 0.2}}


def test_a_run_that_never_saved_has_no_state(tmp_path: Path) -> None:
    assert load_state(tmp_path) is None


def test_a_truncated_state_is_named(tmp_path: Path) -> None:
    save_state(tmp_path, TENSORS, {"step": 5})
    path = tmp_path / run_state.FILE
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(RunError, match=r"training_state\.safetensors is corrupt"):
        load_state(tmp_path)


@pytest.mark.parametrize(
    "wrong", [RuntimeError("size mismatch\nof everything"), KeyError("counters"), TypeError("new")]
)
def test_a_state_that_its_config_does_not_describe_is_named(tmp_path: Path, wrong: Exception) -> None:
    with pytest.raises(RunError, match=r"training_state\.safetensors: expected .*config\.yaml"), state_of(tmp_path):
        raise wrong


def test_a_crash_while_saving_keeps_the_older_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_state(tmp_path, TENSORS, {"step": 5})

    def crash(*args: object) -> None:
        raise OSError("power cut")

    monkeypatch.setattr(run_state.os, "fsync", crash)
    with pytest.raises(OSError, match="power cut"):
        save_state(tmp_path, TENSORS, {"step": 6})
    saved = load_state(tmp_path)
    assert saved is not None
    assert saved[1] == {"step": 5}
