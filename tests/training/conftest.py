from pathlib import Path

import pytest

from robot_learning.algorithms.cloning_config import BehaviourCloningConfig
from robot_learning.training.config import TrainConfig

from . import point_world

SMALL = BehaviourCloningConfig(horizon=4, channels=(8, 8), kernels=(5, 3), strides=(2, 1), hidden=(32,), batch_size=16)


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return point_world.collect(tmp_path_factory.mktemp("data") / "points")


@pytest.fixture
def config(dataset: Path, tmp_path: Path) -> TrainConfig:
    return TrainConfig(dataset=str(dataset), run=str(tmp_path / "run"), steps=30, threads=1, log_every=5, bc=SMALL)
