"""BehaviourCloningConfig: the settings of behaviour cloning. See docs/behaviour_cloning.md."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch

from robot_learning.contract import ENVIRONMENT_STATE, STATE
from robot_learning.networks.encoders import multiplies_bfloat16
from robot_learning.policies import Blending
from robot_learning.settings import (
    require_at_least,
    require_choice,
    require_convolutions,
    require_more_than,
    require_shares,
    require_some,
)


@dataclass(frozen=True)
class BehaviourCloningConfig:
    """docs/behaviour_cloning.md says why each default was chosen."""

    inputs: str = "images"
    """What the policy reads: "images" (cameras and observation.state) or "state" (no camera, environment_state instead)."""
    ignore: tuple[str, ...] = (".vel", "joint.pos")
    """Endings of names of vector elements to leave out: velocities tell the last action, which cloning would copy, and
    the tool's pose says what matters of the joints."""
    choose_inputs: bool = False
    """Find out on held-out demonstrations which objects the task is about and leave out the others; from state only, it does
    nothing with pictures."""
    horizon: int = 12
    """Actions in a chunk."""
    displacements: bool = True
    """Learn the summed actions of a chunk, so where the tool will be, instead of each noisy action."""
    head: str = "l1"
    """"l1" (one chunk, mean absolute error) or, for much data in which a task was done in several ways, "flow" (flow matching) or
    "mixture" (Laplace mixture over whole chunks)."""
    components: int = 5
    """Components of the mixture."""
    crop: float = 0.917
    """Side of the random crop as a share of the image (the centre is cut when acting)."""
    jitter: float = 0.2
    """Strength of the brightness, contrast and colour jitter."""
    state_noise: float = 0.05
    """Noise on the normalised vectors [standard deviations]."""
    state_dropout: float = 0.1
    """Share of the samples whose vectors are blanked, so that the policy must look at the images."""
    encoder: str = "trained"
    """"trained" (convolutions of its own) or "frozen" (keypoints in the maps of an EfficientNet with ImageNet's weights, which
    are computed once: a tenth of the cost of a step)."""
    views: int = 4
    """Augmented views of each frame whose maps are kept, with "frozen"."""
    precision: str = "auto"
    """Of an encoder of its own in training: "float32", "bfloat16" (its convolutions), or "auto": "bfloat16" on one thread of a
    processor that multiplies such numbers, which is nearly twice as fast. Acting is in float32."""
    channels: tuple[int, ...] = (16, 32, 32)
    """Channels of the convolutions; the last is the number of keypoints per camera."""
    kernels: tuple[int, ...] = (5, 3, 3)
    """Kernel sizes [pixels]."""
    strides: tuple[int, ...] = (2, 2, 1)
    """Strides [pixels]."""
    hidden: tuple[int, ...] = (256, 256)
    """Widths of the MLP."""
    dropout: float = 0.2
    """Dropout in the MLP."""
    batch_size: int = 64
    """Frames per step."""
    prior_share: float = 0.5
    """Share of them that is drawn from prior data, where there is some."""
    learning_rate: float = 1e-3
    """Peak learning rate of AdamW; linear warm-up, then cosine to 1 % of it."""
    warmup: int = 50
    """Steps of warm-up."""
    weight_decay: float = 1e-3
    """Of AdamW."""
    gradient_clip: float = 1.0
    """Largest norm of the gradient."""
    ema: float = 0.99
    """Decay of the averaged weights, which are the ones that act."""
    blending: Blending = dataclasses.field(default_factory=Blending)
    """How the policy turns chunks into actions."""

    def __post_init__(self) -> None:
        require_choice(self, "inputs", ("images", "state"))
        require_choice(self, "head", ("l1", "mixture", "flow"))
        require_choice(self, "encoder", ("trained", "frozen"))
        require_choice(self, "precision", ("auto", "float32", "bfloat16"))
        require_some(self, "hidden")
        require_at_least(self, 1, "hidden", "horizon", "components", "views", "batch_size")
        require_at_least(self, 0, "jitter", "state_noise", "learning_rate", "warmup", "weight_decay")
        require_more_than(self, 0, "gradient_clip")
        require_shares(self, "prior_share", "state_dropout", "dropout", "ema")
        require_convolutions(self)

    @property
    def in_bfloat16(self) -> bool:
        """Whether convolutions are trained in bfloat16 here. On several threads their gradients spin while they wait for each
        other: a step took 2.2 s of a busy machine instead of 0.3 s."""
        suits = multiplies_bfloat16() and torch.get_num_threads() == 1
        return self.precision == "bfloat16" or (self.precision == "auto" and suits)

    def input_keys(self, cameras: list[str]) -> list[str]:
        """The streams the policy reads, given the keys of the `cameras` there are."""
        return [STATE, *cameras] if self.inputs == "images" else [STATE, ENVIRONMENT_STATE]
