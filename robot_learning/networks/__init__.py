"""Torch modules: encoders, heads, perceptrons, image augmentation."""

from robot_learning.networks.distributions import ChunkHead, FlowHead, L1Head, MixtureHead, make_head
from robot_learning.networks.encoders import SpatialSoftmax, SpatialSoftmaxCNN
from robot_learning.networks.mlp import mlp
from robot_learning.networks.visuomotor import VisuomotorNetwork, VisuomotorSpec

__all__ = [
    "ChunkHead",
    "FlowHead",
    "L1Head",
    "MixtureHead",
    "SpatialSoftmax",
    "SpatialSoftmaxCNN",
    "VisuomotorNetwork",
    "VisuomotorSpec",
    "make_head",
    "mlp",
]
