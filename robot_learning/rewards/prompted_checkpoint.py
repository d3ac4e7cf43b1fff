"""The folder of a reward model that asks in words, of the same form as the embedded one's (rewards/checkpoint.py).

    config.json          backend ("transformers", "openai"), model, prompt and settings, calibration, questions, facts of the card
    adapter.safetensors  LoRA weights, where it was fine-tuned
    README.md            the model card, for people

The large model itself is not in it, nor is an API key: config.json has the name of the variable that holds one.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save

import robot_learning
from robot_learning.errors import UserError
from robot_learning.rewards.embedded import Calibration
from robot_learning.rewards.lora import LoraConfig, add_lora, lora_weights, set_lora_weights
from robot_learning.rewards.model_card import render_prompted
from robot_learning.rewards.prompted import PromptedReward, plain_book
from robot_learning.rewards.questions import Question
from robot_learning.rewards.server import ChatServer, ServerConfig
from robot_learning.rewards.vlm import LocalVlm, VlmConfig

FORMAT = 1
TRANSFORMERS, OPENAI = BACKENDS = ("transformers", "openai")
ADAPTER = "adapter.safetensors"


class RewardCheckpointError(UserError, ValueError):
    """The folder of a reward model is missing, incomplete, corrupt or of another kind; names the file."""


def prompted_files(model: PromptedReward) -> dict[str, bytes]:
    """The files of the folder by name. Raises `TypeError` for an asker of another kind."""
    asker = model.asker
    data: dict[str, Any] = {"format": FORMAT, "version": robot_learning.__version__}
    files: dict[str, bytes] = {}
    if isinstance(asker, LocalVlm):
        lora = asker.lora
        data |= {"backend": TRANSFORMERS, "vlm": asdict(asker.config), "lora": asdict(lora) if lora else None}
        files = {ADAPTER: save(lora_weights(asker))} if lora else {}
        answerer = f"the vision-language model {asker.model}" + (" with LoRA adapters" if lora else "")
    elif isinstance(asker, ChatServer):
        data |= {"backend": OPENAI, "server": asdict(asker.config)}
        answerer = f"the model {asker.model} of an OpenAI-compatible server"
    else:
        raise TypeError(f"asker: expected LocalVlm or ChatServer, found {type(asker).__name__}")
    data |= {
        "model": asker.model,
        "prompt": asker.prompt,
        "cameras": list(model.cameras),
        "calibration": asdict(model.calibration),
        "other": list(model.other),
        "questions": [asdict(question) for question in model.book.questions],
        "facts": model.facts,
    }
    card = render_prompted(model, answerer)
    return {"config.json": json.dumps(data, indent=2).encode(), "README.md": card.encode(), **files}


def build_prompted(path: Path, data: dict[str, Any]) -> PromptedReward:
    """The model of a folder with its config.json parsed.

    Raises:
        RewardCheckpointError: something is missing in it or does not fit. VlmError: the model does not load here.
    """
    try:
        questions = [Question(entry["text"], tuple(entry["wordings"])) for entry in data["questions"]]
        fitted: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in data["calibration"].items()}
        calibration = Calibration(**fitted)
        calibration.check(len(questions))
        slope, offset = map(float, data["other"])
        if not math.isfinite(slope + offset):
            raise ValueError(f"other: expected a slope and an offset, found {slope} and {offset}")
        asker = _vlm(path, data) if data["backend"] == TRANSFORMERS else _server(data)
        book = plain_book(questions)
        return PromptedReward(asker, data["cameras"], book, calibration, (slope, offset), data["facts"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, UserError):
            raise
        raise RewardCheckpointError(
            f"{path}: config.json does not fit together: {type(error).__name__} {error}"
        ) from error


def _server(data: dict[str, Any]) -> ChatServer:
    return ChatServer(data["model"], data["prompt"], ServerConfig(**data["server"]))


def _vlm(path: Path, data: dict[str, Any]) -> LocalVlm:
    weights = None
    if data["lora"] is not None:  # looked at first: the large model takes long
        try:
            weights = load((path / ADAPTER).read_bytes())
        except OSError as error:
            raise RewardCheckpointError(f"reward model {path} lacks {ADAPTER}; copy or train it again") from error
        except SafetensorError as error:
            raise RewardCheckpointError(f"{path / ADAPTER} is corrupt ({error}); copy or train it again") from error
    try:
        vlm = LocalVlm(data["model"], data["prompt"], VlmConfig(**data["vlm"]))
    except UserError as error:
        raise type(error)(
            f'{error} (the name is "model" in {path / "config.json"}; a moved folder is mended there)'
        ) from error
    if weights is not None:
        add_lora(vlm, LoraConfig(**data["lora"]))
        set_lora_weights(vlm, weights)
    return vlm
