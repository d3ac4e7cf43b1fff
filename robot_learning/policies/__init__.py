"""Policies: the protocol, checkpoints, and the blending of action chunks."""

from robot_learning.policies.actor_policy import ActorPolicy, actor_checkpoint
from robot_learning.policies.checkpoint import (
    Checkpoint,
    CheckpointError,
    build_policy,
    load_policy,
    read_checkpoint,
    register_policy,
    save_checkpoint,
)
from robot_learning.policies.chunk_policy import Blending, ChunkPolicy
from robot_learning.policies.chunks import ActionChunks
from robot_learning.policies.normalizer import Normalizer, StatisticsError
from robot_learning.policies.player import ChunkPlayer
from robot_learning.policies.policy import ObservationError, Policy, UnknownTaskError, check_observation, task_index
from robot_learning.policies.retrying import Retrying, loader, retries_of

__all__ = [
    "ActionChunks",
    "ActorPolicy",
    "Blending",
    "Checkpoint",
    "CheckpointError",
    "ChunkPlayer",
    "ChunkPolicy",
    "Normalizer",
    "ObservationError",
    "Policy",
    "Retrying",
    "StatisticsError",
    "UnknownTaskError",
    "actor_checkpoint",
    "build_policy",
    "check_observation",
    "load_policy",
    "loader",
    "read_checkpoint",
    "register_policy",
    "retries_of",
    "save_checkpoint",
    "task_index",
]
