"""A vision-language model that runs here, through transformers: any image-text-to-text model, from a folder or the hub.

P(yes) comes from the first token of the answer, all spellings of yes and of no taken together (VQAScore, Lin et al. 2024, arXiv
2404.01291, does it with "Yes"). Pictures that are asked the same question have equally long inputs, so nothing is padded and a
batch answers like its pictures. Weights must be safetensors; code that comes with a model is not run.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError
from torch import Tensor

from robot_learning.errors import UserError
from robot_learning.rewards.prompted import PROMPT, Answers, filled
from robot_learning.rewards.vlm_memory import check_memory

EXTRA = "pip install 'robot_learning[vlm]'"
PALIGEMMA, PALIGEMMA_PROMPT = (
    "PaliGemmaProcessor",
    "answer en {question}",
)  # its prefix for questions (big_vision's README)
SPELLINGS = {
    word: tuple(f"{space}{w}" for space in ("", " ") for w in (word, word.capitalize(), word.upper()))
    for word in ("yes", "no")
}
OPTIONAL = ("torchvision", "num2words", "timm", "einops", "sentencepiece", "tiktoken", "protobuf", "accelerate", "av")
LOADING_ERRORS = (
    ImportError, OSError, ValueError, AttributeError, KeyError, TypeError,
    SafetensorError, RuntimeError,  # a file that breaks off, weights of other shapes
)  # fmt: skip
VIDEO = re.compile(r"video[ _]?(?:pre)?processor", re.IGNORECASE)  # without torchvision there is none


class VlmError(UserError, RuntimeError):
    """The model cannot be loaded or run here; says what is missing and how to get it."""


@dataclass(frozen=True)
class VlmConfig:
    """How a local model runs."""

    device: str = "auto"
    """cpu, cuda, cuda:1, mps; auto takes the first CUDA device, or else the CPU."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Numbers to calculate with; auto keeps those of the weights."""
    batch: int = 8
    """Pictures in one pass; fewer need less memory."""
    revision: str = "main"
    """Of a model on the hub."""


@dataclass(frozen=True)
class LoraConfig:
    """Shape of low-rank adapters (rewards/lora.py)."""

    rank: int = 0
    """Rank of the adapters; 0 for none: the model stays as it is."""
    alpha: int = 16
    """Their scale is alpha / rank."""
    target: str = "all-linear"
    """Layers that get one: all-linear, or a regular expression that a layer's whole name must match."""


class LocalVlm:
    """An `Asker` that holds the model. `model`: folder or hub name. `prompt`: has {question} in it; the model's own when absent.

    Raises:
        VlmError: transformers or something the model needs is not installed, there is no such model, or too little memory.
    """

    def __init__(self, model: str, prompt: str | None = None, config: VlmConfig | None = None) -> None:
        self.model, self.config = model, config or VlmConfig()
        self.device = _device(self.config.device)
        self.processor, self.network = _load(model, self.config, self.device)
        kind = type(self.processor).__name__
        self.prompt = prompt or (PALIGEMMA_PROMPT if kind == PALIGEMMA else PROMPT)
        filled(self.prompt, "")
        self.lora: LoraConfig | None = None  # of the adapters that rewards/lora.py has added
        self.tokens = {word: _tokens(self.processor.tokenizer, word, model) for word in SPELLINGS}
        # the head need not be applied to the tokens of the pictures; models that lack the option do it all the same
        known = inspect.signature(self.network.forward).parameters
        self._keep = {"logits_to_keep": 1} if "logits_to_keep" in known else {}

    @torch.no_grad()
    def ask(self, pictures: Sequence[np.ndarray], questions: Sequence[str]) -> Answers:
        """Answer every question for every picture, `(B, Q)`. Raises `VlmError`."""
        columns = []
        for question in questions:
            parts = []
            for start in range(0, len(pictures[0]), self.config.batch):
                parts.append(self.log_probabilities([c[start : start + self.config.batch] for c in pictures], question))
            columns.append(torch.cat(parts))
        every = torch.stack(columns, dim=1)
        if not every.isfinite().all():
            raise VlmError(
                f"{self.model}: expected probabilities of yes and no, found numbers that are none. Calculate with others "
                f"(--vlm.dtype float32; now {self.network.dtype}), or copy or download its weights again"
            )
        share = every.logsumexp(dim=-1).exp()
        return Answers((every[..., 0] - every[..., 1]).numpy(), share.numpy())

    def log_probabilities(self, pictures: Sequence[np.ndarray], question: str) -> Tensor:
        """Log P of yes and of no as the first token, `(B, 2)` float32 on the CPU, differentiable. Raises `VlmError`."""
        with self._clear_errors():
            inputs = self.inputs(pictures, question)
            scores = self.network(**inputs, **self._keep).logits[:, -1].float().log_softmax(dim=-1)
        return torch.stack([scores[:, self.tokens[w]].logsumexp(dim=-1) for w in ("yes", "no")], dim=-1).cpu()

    def inputs(self, pictures: Sequence[np.ndarray], question: str) -> dict[str, Any]:
        """What the network takes for pictures `(B, H, W, 3)` of each camera and one question."""
        text = filled(self.prompt, question)
        rows = [[Image.fromarray(camera[row]) for camera in pictures] for row in range(len(pictures[0]))]
        if getattr(self.processor, "chat_template", None):
            made = self.processor.apply_chat_template(
                [_message(row, text) for row in rows],
                add_generation_prompt=True,
                tokenize=True,
                return_dict=True,
                return_tensors="pt",
            )
        else:
            mark = getattr(self.processor, "image_token", "<image>")
            made = self.processor(text=[mark * len(pictures) + text] * len(rows), images=rows, return_tensors="pt")
        dtype = next(self.network.parameters()).dtype
        moved = {k: v.to(self.device, dtype if v.is_floating_point() else None) for k, v in made.items()}
        moved.pop("labels", None)  # PaliGemma's processor makes some, from which its model would compute a loss
        return moved

    @contextmanager
    def _clear_errors(self) -> Iterator[None]:
        try:
            yield
        except (MemoryError, torch.OutOfMemoryError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and not re.search("memory|alloc", str(error)):
                raise
            raise VlmError(
                f"{self.model}: out of memory ({_first_line(error)}). Take a smaller model, --vlm.batch 1, "
                "or --vlm.dtype bfloat16"
            ) from error


def _message(images: Sequence[Image.Image], text: str) -> list[dict[str, Any]]:
    """One message of the user: the pictures in the order of the cameras, then the text."""
    content: list[dict[str, Any]] = [{"type": "image", "image": image} for image in images]
    return [{"role": "user", "content": [*content, {"type": "text", "text": text}]}]


def _load(model: str, config: VlmConfig, device: torch.device) -> tuple[Any, Any]:
    """Processor and network, ready to answer."""
    if not model:
        raise VlmError("model: expected a folder or a name on the hub (--model), found none")
    if find_spec("transformers") is None:
        raise VlmError(f"{model}: expected the package transformers, found none. Install it: {EXTRA}")
    from transformers import AutoModelForImageTextToText, AutoProcessor

    check_memory(model, config.dtype, device)
    where: dict[str, Any] = {"local_files_only": True} if Path(model).is_dir() else {"revision": config.revision}
    where["trust_remote_code"] = False  # left open, transformers would ask at the terminal
    try:
        processor = AutoProcessor.from_pretrained(model, **where)
        loaded: Any = AutoModelForImageTextToText.from_pretrained(
            model,
            dtype="auto" if config.dtype == "auto" else getattr(torch, config.dtype),
            use_safetensors=True,
            output_loading_info=True,
            **where,
        )
    except LOADING_ERRORS as error:
        raise VlmError(_cannot_load(model, error)) from error
    network, loading = loaded
    if lacking := sorted(loading["missing_keys"]):  # transformers only warns, and makes random ones up
        raise VlmError(
            f"{model}: expected all weights of the model, found none for {len(lacking)} of them, first {lacking[0]!r}; copy or "
            "download it again"
        )
    if not hasattr(processor, "tokenizer"):
        raise VlmError(
            f"{model}: expected a model with a processor of pictures and text, found {type(processor).__name__}"
        )
    return processor, network.to(device).eval().requires_grad_(False)


def _cannot_load(model: str, error: Exception) -> str:
    """What to install, where the error speaks of a package that is not there; else what the error says."""
    words = f"{type(error).__name__}: {_first_line(error)}"
    missing = [name for name in OPTIONAL if name in str(error) and find_spec(name) is None]
    if VIDEO.search(str(error)) and find_spec("torchvision") is None:
        missing = list(dict.fromkeys([*missing, "torchvision"]))  # its processor of videos needs it, even for pictures
    if missing:
        fit = f" (torchvision: the release that fits torch {torch.__version__})" if "torchvision" in missing else ""
        return (
            f"{model}: needs {', '.join(missing)}, found none. pip install {' '.join(missing)}{fit}. It said: {words}"
        )
    hint = "" if Path(model).is_dir() else " (there is no such folder, so it was looked for on the hub)"
    return (
        f"{model}: expected an image-text-to-text model that transformers loads, with safetensors, found {words}{hint}"
    )


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise VlmError(f"device: expected one that torch has here, found {name!r} ({_first_line(error)})") from error
    return device


def _tokens(tokenizer: Any, word: str, model: str) -> list[int]:
    """The tokens that are a spelling of `word` by themselves."""
    spelt = [tokenizer(spelling, add_special_tokens=False)["input_ids"] for spelling in SPELLINGS[word]]
    whole = {ids[0] for ids in spelt if len(ids) == 1} - {tokenizer.unk_token_id}
    if not whole:
        raise VlmError(
            f"{model}: expected a tokenizer with a token for {word!r}, found none in any spelling; take another model"
        )
    return sorted(whole)
