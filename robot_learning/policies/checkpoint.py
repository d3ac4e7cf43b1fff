"""Checkpoints: a folder of plain files that says what a policy is, what robot it was made for and how well it did.

    config.json          format, policy kind, package version, tasks, model card facts, network shape, training config
    contract.yaml        the robot's contract with only the streams the policy reads
    statistics.json      mean and scale of each vector
    weights.safetensors  the network
    README.md            the model card, for people

Nothing in it is pickled, so a checkpoint from a stranger cannot run code.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

import robot_learning
from robot_learning.contract import Contract, ContractError
from robot_learning.errors import UserError
from robot_learning.folders import recovered, write_folder
from robot_learning.policies.model_card import render
from robot_learning.policies.policy import Policy

FORMAT = 1
CONFIG, CONTRACT, STATISTICS, WEIGHTS, CARD = FILES = (
    "config.json",
    "contract.yaml",
    "statistics.json",
    "weights.safetensors",
    "README.md",
)


class CheckpointError(UserError, ValueError):
    """A checkpoint is missing, incomplete, corrupt or of a kind this version does not know."""


@dataclass(frozen=True)
class Checkpoint:
    """The contents of a checkpoint folder.

    Attributes:
        policy: the registered kind that knows how to act with these weights ("chunk").
        tasks: the instructions it knows, in the order of the network's task indices.
        config: whatever else its kind needs, plain data; `config["network"]` is the network's shape.
        contract: only the streams the policy reads.
        statistics: see `Normalizer.to_dict`. weights: the network's state dict.
        facts: rows of the model card (data, steps, loss ...). success: one line per evaluated task.
    """

    policy: str
    tasks: list[str]
    config: dict[str, Any]
    contract: Contract
    statistics: dict[str, Any]
    weights: dict[str, Tensor]
    facts: dict[str, Any] = field(default_factory=dict)
    success: list[str] = field(default_factory=list)
    version: str = field(default_factory=lambda: robot_learning.__version__)


_FIELDS = ("policy", "version", "tasks", "facts", "success", "config")
_BUILDERS: dict[str, Callable[[Checkpoint], Policy]] = {}


def register_policy(kind: str) -> Callable[[Callable[[Checkpoint], Policy]], Callable[[Checkpoint], Policy]]:
    """Decorator: the function that builds a Policy from a checkpoint of this `kind`."""

    def add(builder: Callable[[Checkpoint], Policy]) -> Callable[[Checkpoint], Policy]:
        _BUILDERS[kind] = builder
        return builder

    return add


def save_checkpoint(path: str | Path, checkpoint: Checkpoint) -> Path:
    """Write the folder `path`, replacing what is there only once everything is on the disk; returns `path`."""
    path = Path(path)
    write_folder(path, checkpoint_files(checkpoint))
    return path


def checkpoint_files(checkpoint: Checkpoint) -> dict[str, bytes]:
    """The files of a checkpoint's folder, by name."""
    return {
        CONFIG: json.dumps({"format": FORMAT, **{n: getattr(checkpoint, n) for n in _FIELDS}}, indent=2).encode(),
        CONTRACT: yaml.safe_dump(checkpoint.contract.to_dict(), sort_keys=False).encode(),
        STATISTICS: json.dumps(checkpoint.statistics, indent=2).encode(),
        WEIGHTS: save_tensors({k: v.contiguous() for k, v in checkpoint.weights.items()}),
        CARD: render(checkpoint).encode(),
    }


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint folder without building its policy.

    Raises:
        CheckpointError: names the missing or corrupt file.
        ContractError: `contract.yaml` is malformed.
    """
    path = recovered(Path(path))
    if path.is_file():
        raise CheckpointError(f"checkpoint {path}: expected a folder with {list(FILES)}, found a file; name its folder")
    if not path.is_dir():
        raise CheckpointError(f"checkpoint {path} does not exist; a checkpoint is a folder with {list(FILES)}")
    return checkpoint_from_files(
        {name: (path / name).read_bytes() for name in FILES if name != CARD and (path / name).is_file()}, path
    )


def checkpoint_from_files(files: Mapping[str, bytes], path: Path) -> Checkpoint:
    """Reverse of `checkpoint_files`; the card may be missing. `path` names their place in errors, as in `read_checkpoint`."""
    missing = [name for name in FILES if name != CARD and name not in files]
    if missing:
        raise CheckpointError(f"checkpoint {path} lacks {missing}; a checkpoint is a folder with {list(FILES)}")
    config = _read_json(files[CONFIG], path / CONFIG)
    if config.get("format") != FORMAT:
        found = config.get("format", "none")
        raise CheckpointError(f"{path / CONFIG}: format {found}, this version reads {FORMAT}; use a matching version")
    try:
        weights = load_tensors(files[WEIGHTS])
    except SafetensorError as error:
        raise CheckpointError(f"{path / WEIGHTS} is corrupt ({error}); copy or train the checkpoint again") from error
    absent = [name for name in _FIELDS if name not in config]
    if absent:
        raise CheckpointError(f"{path / CONFIG} lacks the keys {absent}")
    return Checkpoint(
        **{name: config[name] for name in _FIELDS},
        contract=_read_contract(files[CONTRACT], path / CONTRACT),
        statistics=_read_json(files[STATISTICS], path / STATISTICS),
        weights=weights,
    )


def load_policy(path: str | Path, contract: Contract | None = None) -> Policy:
    """The policy of a checkpoint folder, ready to predict.

    Args:
        contract: the robot's (or environment's) contract; checked when given.

    Raises:
        ContractError: the robot cannot serve this policy; lists every difference with both sides.
        CheckpointError: a file is missing or corrupt, the weights do not fit, or the kind of policy is unknown.
    """
    return build_policy(read_checkpoint(path), f"checkpoint {path}", contract)


def build_policy(checkpoint: Checkpoint, where: str, contract: Contract | None = None) -> Policy:
    """The policy of a checkpoint that has been read; `where` names it in errors. Raises as `load_policy` does."""
    if contract is not None:
        contract.require(checkpoint.contract, where)
    if checkpoint.policy not in _BUILDERS:
        raise CheckpointError(f"{where}: unknown kind of policy {checkpoint.policy!r}; valid: {sorted(_BUILDERS)}")
    try:
        return _BUILDERS[checkpoint.policy](checkpoint)
    except (KeyError, TypeError, RuntimeError) as error:  # load_state_dict raises RuntimeError
        raise CheckpointError(f"{where}: {CONFIG} and {WEIGHTS} do not fit together: {error}") from error


def _read_contract(content: bytes, path: Path) -> Contract:
    try:
        data = yaml.safe_load(content)
    except yaml.YAMLError as error:
        raise ContractError(f"{path} is not valid YAML: {error}") from error
    return Contract.from_dict(data, where=str(path))


def _read_json(content: bytes, path: Path) -> dict[str, Any]:
    try:
        data = json.loads(content)
    except ValueError as error:
        raise CheckpointError(f"{path} is not valid JSON ({error}); copy or train the checkpoint again") from error
    if not isinstance(data, Mapping):
        raise CheckpointError(f"{path}: expected an object, found {type(data).__name__}")
    return dict(data)
