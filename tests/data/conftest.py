"""Small recorded datasets with real encoded video."""

from __future__ import annotations

from pathlib import Path

import pytest

from robot_learning.contract import Contract
from robot_learning.data import DatasetWriter

from .recordings import make_contract, make_episode


@pytest.fixture
def contract() -> Contract:
    """The shipped contract with 32x32 cameras."""
    return make_contract()


@pytest.fixture
def root(tmp_path: Path, contract: Contract) -> Path:
    """A dataset of three episodes (8, 5 and 11 frames) and two tasks."""
    path = tmp_path / "dataset"
    with DatasetWriter.create(path, contract) as writer:
        writer.add_episode(make_episode(contract, 8, seed=0))
        writer.add_episode(make_episode(contract, 5, seed=1, task="close the drawer", success=False))
        writer.add_episode(make_episode(contract, 11, seed=2))
    return path
