"""From datasets to a reward model that asks a large vision-language model in words: choose frames, fit, write the folder."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import cv2
import numpy as np
import tyro

from robot_learning.rewards import LabelError, PromptedReward, QuestionBook, quality, save_reward
from robot_learning.rewards.lora import LoraTraining
from robot_learning.rewards.prompted import plain_book
from robot_learning.rewards.prompted_training import Fitted, LabelledPictures, fit_prompted, fit_with_lora
from robot_learning.rewards.server import ChatServer, ServerConfig
from robot_learning.rewards.training import ALWAYS
from robot_learning.rewards.vlm import LocalVlm, LoraConfig, VlmConfig
from robot_learning.training.progress import ProgressBar
from robot_learning.training.reward_frames import AnsweredFrames, Frames, answered_frames, pictures
from robot_learning.training.reward_training import RewardRun, labelled


@dataclass(frozen=True)
class PromptedRun:
    """What asks, and how, beside a `RewardRun`, of which the network and the augmentation are not used."""

    model: str = ""
    """Folder or hub name of a vision-language model (transformers), or the name a server knows it by (openai)."""
    prompt: str | None = None
    """What is asked, with {question} in it; what fits the model when absent."""
    vlm: VlmConfig = field(default_factory=VlmConfig)
    """How a local model runs."""
    lora: LoraConfig = field(default_factory=LoraConfig)
    """Fine-tuning of a local model; off while its rank is 0."""
    lora_training: Annotated[LoraTraining, tyro.conf.arg(name="lora")] = field(default_factory=LoraTraining)
    """How it is fine-tuned."""
    server: ServerConfig = field(default_factory=ServerConfig)
    """The server, and how it is asked."""


def train_prompted(run: RewardRun, backend: str, prompted: PromptedRun) -> PromptedReward:
    """Calibrate the model that is asked on labelled frames, fine-tune it first if wanted, write `run.output`, and return it.

    Raises:
        LabelError, QuestionError, DatasetError: as `train_reward`. UserError: the model does not load or answer.
    """
    if not prompted.model:
        raise LabelError(f"--backend {backend}: expected the model's name with --model, found none")
    if run.uncertain and (backend != "transformers" or not prompted.lora.rank):
        raise LabelError(
            f"--uncertain: expected --lora.rank to learn from single pictures with, found none (--backend {backend})"
        )
    book, chosen = labelled(run, plain_book)
    data = labelled_pictures([*chosen, *answered_frames(run.uncertain, book)], run.network.cameras)
    begun = time.process_time()
    if backend == "transformers":
        asker: LocalVlm | ChatServer = LocalVlm(prompted.model, prompted.prompt, prompted.vlm)
    else:
        asker = ChatServer(prompted.model, prompted.prompt, prompted.server)
    fitted = _fit(asker, data, book, run, prompted)
    facts = _facts(run, book, fitted, asker, len(data.labels), time.process_time() - begun)
    model = PromptedReward(asker, run.network.cameras, book, fitted.calibration, fitted.other, facts)
    save_reward(run.output, model)
    return model


def labelled_pictures(chosen: Sequence[Frames | AnsweredFrames], cameras: Sequence[str]) -> LabelledPictures:
    """The frames of several datasets as one; episodes of different datasets stay apart, pictures get the size of the first."""
    chosen = [frames for frames in chosen if len(frames.rows)]
    sizes = [len(frames.rows) for frames in chosen]
    owner = np.repeat(np.arange(len(chosen)), sizes)
    place = np.concatenate([np.arange(size) for size in sizes])
    firsts = np.cumsum([0, *(frames.dataset.num_episodes for frames in chosen[:-1])])
    shapes = [images.shape[1:] for images in pictures(chosen[0], cameras, np.array([0]))]

    def look(rows: np.ndarray) -> list[np.ndarray]:
        """Pictures in the order of `rows`, which may repeat and mix datasets; videos are read forwards."""
        found = [np.zeros((len(rows), *shape), np.uint8) for shape in shapes]
        for number in np.unique(owner[rows]):
            where = np.flatnonzero(owner[rows] == number)
            wanted, back = np.unique(place[rows[where]], return_inverse=True)
            for images, target in zip(pictures(chosen[number], cameras, wanted), found, strict=True):
                target[where] = resized(images, target.shape[1:3])[back]
        return found

    labels = np.concatenate([frames.labels for frames in chosen])
    episodes = [
        np.where(f.episodes == ALWAYS, ALWAYS, f.episodes + first) for f, first in zip(chosen, firsts, strict=True)
    ]
    return LabelledPictures(look, labels, np.concatenate(episodes))


def resized(images: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """`(n, H, W, 3)` uint8 to another height and width."""
    height, width = size
    if images.shape[1:3] == (height, width):
        return images
    return np.stack([cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA) for image in images])


def _fit(
    asker: LocalVlm | ChatServer, data: LabelledPictures, book: QuestionBook, run: RewardRun, prompted: PromptedRun
) -> Fitted:
    if isinstance(asker, ChatServer) or not prompted.lora.rank:
        with ProgressBar("ask", len(data.labels), "frames") as bar:
            return fit_prompted(asker, data, book, run.training, bar.update)
    with ProgressBar("train", prompted.lora_training.steps, "steps") as bar:
        return fit_with_lora(asker, data, book, run.training, prompted.lora, prompted.lora_training, bar.update)


def _facts(
    run: RewardRun, book: QuestionBook, fitted: Fitted, asker: LocalVlm | ChatServer, frames: int, seconds: float
) -> dict[str, Any]:
    """Rows of the model card, and the quality on episodes that the calibration had not seen."""
    threshold = fitted.calibration.threshold
    each = {t: quality(fitted.held_out[:, q], fitted.labels[:, q], threshold) for q, t in enumerate(book.texts)}
    pooled = quality(fitted.held_out.ravel(), fitted.labels.ravel(), threshold)
    lora = asker.lora if isinstance(asker, LocalVlm) else None
    return {
        "model": asker.model,
        "prompt": asker.prompt,
        "LoRA": f"rank {lora.rank}, {frames - len(fitted.labels)} frames" if lora else "none",
        "data": ", ".join(str(root) for root in run.dataset),
        "frames that calibrate": len(fitted.labels),
        "labels from": ", ".join(run.labels),
        "wanted false positives": f"{run.training.false_positive_rate:.1%}",
        "calibration error, held out": f"{pooled.calibration_error:.3f}",
        "first word is yes or no": "not known" if math.isnan(fitted.share) else f"{fitted.share:.1%}",
        "CPU seconds": f"{seconds:.0f}",
        "quality": {**{text: entry.to_dict() for text, entry in each.items()}, "all": pooled.to_dict()},
    }
