import numpy as np
import pytest
import torch

from robot_learning.contract import Contract
from robot_learning.networks import VisuomotorNetwork, VisuomotorSpec
from robot_learning.policies import Checkpoint, Normalizer

TASKS = ["close the drawer", "open the drawer"]
STATE, FRONT = "observation.state", "observation.images.front"


@pytest.fixture
def contract() -> Contract:
    return Contract.load("ur5e_2f85").select([STATE, FRONT]).with_image_size(24, 20)


@pytest.fixture
def observation() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (24, 20, 3), dtype=np.uint8)
    return {STATE: rng.standard_normal(18).astype(np.float32), FRONT: image}


@pytest.fixture
def checkpoint(contract: Contract) -> Checkpoint:
    torch.manual_seed(0)
    spec = VisuomotorSpec(
        images=(FRONT,),
        image_size=(22, 18),
        vectors={STATE: 18},
        tasks=2,
        action=5,
        horizon=4,
        channels=(4, 4),
        kernels=(5, 3),
        strides=(2, 1),
        hidden=(16,),
    )
    columns = np.random.default_rng(1)
    normalizer = Normalizer.fit({STATE: columns.normal(size=(50, 18)), "action": columns.uniform(-1, 1, (50, 5))})
    return Checkpoint(
        policy="chunk",
        tasks=TASKS,
        config={
            "network": spec.to_dict(),
            "selected": {STATE: list(range(18))},
            "displacements": True,
            "blending": {"every": 1},
        },
        contract=contract,
        statistics=normalizer.to_dict(),
        weights=VisuomotorNetwork(spec).state_dict(),
        facts={"Steps": 10},
    )
