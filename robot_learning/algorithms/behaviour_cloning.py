"""Behaviour cloning with action chunks, from images or from state. See docs/behaviour_cloning.md.

Read top to bottom: the batch, the step, what is saved; the configuration is in cloning_config.py.

Every random number of step k comes from the seed `(seed, k)`, so the step number is the whole state of the random generators
and training that was interrupted goes on exactly as it would have.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from robot_learning.algorithms.cloning_config import BehaviourCloningConfig
from robot_learning.algorithms.demonstrations import Demonstrations
from robot_learning.algorithms.frozen_features import FrozenFeatures
from robot_learning.algorithms.input_selection import (
    InputChoice,
    InputSelection,
    InputSelectionConfig,
    Told,
    input_groups,
    unheard,
)
from robot_learning.algorithms.warm_start import begin_with
from robot_learning.networks.augmentation import centre_crop, colour_jitter, random_crop, to_float
from robot_learning.networks.visuomotor import VisuomotorNetwork, VisuomotorSpec
from robot_learning.policies import Checkpoint, Normalizer
from robot_learning.policies.familiar import Familiar


@dataclass(frozen=True)
class Batch:
    """What one step learns from: `images` (B, 3, h, w), `vectors` (B, n), `task` (B,), `actions` (B, T, A), `is_pad` (B, T)."""

    images: dict[str, Tensor]
    vectors: dict[str, Tensor]
    task: Tensor
    actions: Tensor
    is_pad: Tensor

    def tensors(self) -> dict[str, Tensor]:
        """Everything by name, to save it."""
        return {**self.images, **self.vectors, "task": self.task, "action": self.actions, "is_pad": self.is_pad}


class BehaviourCloning:
    """Trains a `VisuomotorNetwork` on demonstrations.

    Args:
        data: all demonstrations; rows: the frames to train on, `(n,)`.
        steps: length of the whole training, which shapes the learning rate.
        selected: by stream, the indices of the vector elements to read; decided here when None.
        features: maps of a frozen encoder that were computed before, for the first episodes of `data`.
        told: is told how far the choice of inputs and the maps are, which take a while.
        start: go on from this policy's weights; see warm_start.py.
    """

    def __init__(
        self,
        config: BehaviourCloningConfig,
        data: Demonstrations,
        rows: np.ndarray,
        steps: int,
        seed: int,
        selected: dict[str, list[int]] | None = None,
        features: FrozenFeatures | None = None,
        told: Told = unheard,
        start: Checkpoint | None = None,
    ) -> None:
        if start is not None:
            data, selected = data.naming(start.tasks), start.config["selected"]
        self.config, self.data, self.rows, self.steps, self.seed = config, data, rows, steps, seed
        self.choice: InputChoice | None = None
        self.selected = {
            key: [i for i, name in enumerate(_names(data, key)) if not name.endswith(config.ignore)]
            for key in data.vectors
        }
        vectors = Normalizer.fit({k: v[rows] for k, v in data.vectors.items()})
        self.normalizer = vectors.extended("action", *self._chunk_statistics())
        self.familiar: Familiar | None = Familiar.of(data.vectors)
        if start is not None:
            self.normalizer = Normalizer.from_dict(start.statistics)
            before = start.config.get("familiar")  # None: it does not know what it saw, which was more than this
            self.familiar = self.familiar.joined(Familiar.from_dict(before)) if before else None
        if selected is not None:
            self.selected = selected
        elif config.choose_inputs and not data.images:
            self.selected = self._chosen(told)
        self.vectors = {k: self.normalizer.normalize(k, v)[:, self.selected[k]] for k, v in data.vectors.items()}
        torch.manual_seed(seed)
        self.network = VisuomotorNetwork(self._spec()).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.network.train_in_bfloat16(config.in_bfloat16)
        self.average = VisuomotorNetwork(self._spec()).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if start is not None:
            begin_with(self.network, start, data.tasks, config.displacements)
        self.average.load_state_dict(self.network.state_dict())
        self.average.eval()
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
        )
        self._shuffled: dict[bool, tuple[int, np.ndarray]] = {}
        self._features: FrozenFeatures | None = None
        if config.encoder == "frozen" and data.images:
            self._features = features or frozen_features(config, data, seed)
            self._features.extend(data, self.network.maps, told)

    def _chosen(self, told: Told) -> dict[str, list[int]]:
        """Of the selected elements, those of the objects that matter; see input_selection.py."""
        names = {key: [_names(self.data, key)[i] for i in chosen] for key, chosen in self.selected.items()}
        groups = input_groups(names)
        episodes = np.unique(self.data.ends[self.rows], return_inverse=True)[1]
        if not groups or episodes.max() == 0:  # nothing to leave out, or no episode to hold out
            return self.selected
        starts = dict(zip(names, np.cumsum([0, *map(len, names.values())]), strict=False))
        columns = {group: [int(starts[key]) + i for key, i in parts] for group, parts in groups.items()}
        vectors = [self.normalizer.normalize(k, v)[:, self.selected[k]] for k, v in self.data.vectors.items()]
        actions, is_pad = self._chunks(self.rows)
        self.choice = InputSelection(
            InputSelectionConfig(),
            np.concatenate(vectors, axis=1)[self.rows],
            columns,
            self.normalizer.normalize("action", actions),
            is_pad,
            self.data.task_of[self.rows],
            episodes,
            self.seed,
        ).choose(told)
        dropped = {part for group, parts in groups.items() if group not in self.choice.kept for part in parts}
        return {
            key: [element for i, element in enumerate(chosen) if (key, i) not in dropped]
            for key, chosen in self.selected.items()
        }

    def _spec(self) -> VisuomotorSpec:
        config, data = self.config, self.data
        return VisuomotorSpec(
            images=tuple(data.images),
            image_size=_cropped(config, data),
            vectors={key: len(chosen) for key, chosen in self.selected.items()},
            tasks=len(data.tasks),
            action=data.actions.shape[1],
            **{name: getattr(config, name) for name in _SHARED},
        )

    # The batch

    def _chunks(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What the network learns for these frames, `(B, T, A)` in units of the action, and `is_pad` `(B, T)`."""
        actions, is_pad = self.data.chunks(rows, self.config.horizon)
        return (actions.cumsum(axis=1) if self.config.displacements else actions), is_pad

    def _chunk_statistics(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of each step of a chunk, `(T, A)` each: displacements spread as they go on."""
        chunks, is_pad = self._chunks(self.rows)
        masked = np.ma.masked_array(chunks, np.broadcast_to(is_pad[..., None], chunks.shape))
        return masked.mean(axis=0).filled(0.0), masked.std(axis=0).filled(1.0)

    def _sample(self, step: int) -> np.ndarray:
        """The frames of a step: demonstrations and what is beside them are each shuffled anew for each pass over them."""
        prior = self.data.beside[self.rows]
        own, size = self.rows[~prior], self.config.batch_size
        if not prior.any():
            return self._portion(own, size, step, of_prior=False)
        share = round(size * self.config.prior_share)
        parts = [(own, size - share, False), (self.rows[prior], share, True)]
        return np.concatenate(
            [self._portion(rows, n, step, of_prior) for rows, n, of_prior in parts if n and rows.size]
        )

    def _portion(self, rows: np.ndarray, size: int, step: int, of_prior: bool) -> np.ndarray:
        size = min(size, len(rows))
        passes, start = divmod(step * size, len(rows) // size * size)
        known = self._shuffled.get(of_prior)
        if known is None or known[0] != passes:
            seed = (self.seed, 3, passes) if of_prior else (self.seed, 1, passes)
            known = self._shuffled[of_prior] = passes, np.random.default_rng(seed).permutation(rows)
        return known[1][start : start + size]

    def batch(self, step: int) -> Batch:
        """The augmented batch of a step."""
        rng = np.random.default_rng((self.seed, 0, step))
        rows = self._sample(step)
        torch.manual_seed(int(rng.integers(2**62)))  # for dropout
        images = {}
        for key, frames in self.data.images.items():
            if self._features is not None:
                images[key] = self._features(key, rows, rng)
                continue
            cropped = to_float(random_crop(frames, rows, self.network.spec.image_size, rng))
            images[key] = colour_jitter(cropped, self.config.jitter, rng)
        vectors = {}
        for key, values in self.vectors.items():
            noisy = values[rows] + self.config.state_noise * rng.standard_normal((len(rows), values.shape[1]))
            blank = rng.random((len(rows), 1)) < self.config.state_dropout if images else False
            vectors[key] = torch.from_numpy(np.where(blank, 0.0, noisy).astype(np.float32))
        return self._with_targets(rows, images, vectors)

    def plain_batch(self, rows: np.ndarray) -> Batch:
        """The frames `rows` as the policy will see them, without augmentation."""
        size = self.network.spec.image_size
        images = {k: to_float(centre_crop(torch.from_numpy(v[rows]), size)) for k, v in self.data.images.items()}
        return self._with_targets(rows, images, {k: torch.from_numpy(v[rows]) for k, v in self.vectors.items()})

    def _with_targets(self, rows: np.ndarray, images: dict[str, Tensor], vectors: dict[str, Tensor]) -> Batch:
        actions, is_pad = self._chunks(rows)
        target = torch.from_numpy(self.normalizer.normalize("action", actions))
        return Batch(images, vectors, torch.from_numpy(self.data.task_of[rows]), target, torch.from_numpy(is_pad))

    # The step

    def learning_rate(self, step: int) -> float:
        """Linear warm-up, then half a cosine down to 1 % of the peak."""
        warmup = min(1.0, (step + 1) / max(self.config.warmup, 1))
        return self.config.learning_rate * warmup * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * step / self.steps)))

    def update(self, step: int, batch: Batch) -> dict[str, float]:
        """One gradient step; returns `loss`, `gradient_norm` and `learning_rate`. A loss that is not finite changes nothing."""
        self.network.train()
        lr = self.learning_rate(step)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        loss = self.network.loss(self.network(batch.images, batch.vectors, batch.task), batch.actions, batch.is_pad)
        metrics = {"loss": loss.item(), "learning_rate": lr}
        if not math.isfinite(metrics["loss"]):
            return metrics
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.config.gradient_clip)
        self.optimizer.step()
        # early on the average follows quickly, or it would still hold the initial weights at the end of a short training
        keep = min(self.config.ema, (1 + step) / (10 + step))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.parameters()), list(self.network.parameters()), 1 - keep)
            for mine, theirs in zip(self.average.buffers(), self.network.buffers(), strict=True):
                mine.copy_(theirs)
        return {**metrics, "gradient_norm": norm.item()}

    def validate(self, rows: np.ndarray) -> dict[str, float]:
        """`validation_loss` and `validation_error` (mean absolute action error of the chunk) of the averaged weights."""
        losses, errors, counts = [], [], []
        for start in range(0, len(rows), 256):
            batch = self.plain_batch(rows[start : start + 256])
            with torch.inference_mode():
                out = self.average(batch.images, batch.vectors, batch.task)
                losses.append(self.average.loss(out, batch.actions, batch.is_pad).item())
                error = (self.average.mode(out) - batch.actions).abs() * torch.from_numpy(
                    self.normalizer.scale["action"]
                )
                errors.append(error[~batch.is_pad].mean().item())
            counts.append(len(batch.task))
        weights = np.array(counts) / sum(counts)
        return {"validation_loss": float(weights @ losses), "validation_error": float(weights @ errors)}

    # What is saved

    def state(self) -> dict[str, Tensor]:
        """Every tensor the next step depends on; with the step number it is the whole training state."""
        tensors = {f"network/{k}": v for k, v in self.network.state_dict().items()}
        tensors |= {f"average/{k}": v for k, v in self.average.state_dict().items()}
        for name, parameter in self.network.named_parameters():
            for key, value in self.optimizer.state[parameter].items():
                tensors[f"optimizer/{name}/{key}"] = value
        return tensors

    def load_state(self, tensors: dict[str, Tensor]) -> None:
        """Continue from what `state` returned."""
        for prefix, network in (("network/", self.network), ("average/", self.average)):
            network.load_state_dict({k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)})
        for name, parameter in self.network.named_parameters():
            prefix = f"optimizer/{name}/"
            found = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
            # the memory layout decides how vectorised kernels round, so it must be the parameter's own
            self.optimizer.state[parameter] = {
                k: v.clone() if v.dim() == 0 else torch.empty_like(parameter).copy_(v) for k, v in found.items()
            }

    def checkpoint(self, facts: dict[str, Any], success: list[str]) -> Checkpoint:
        """The policy so far: the averaged weights with all they need to act."""
        retry = self.data.retry_plan()
        config = {
            "algorithm": "bc",
            "network": self.average.spec.to_dict(),
            "selected": self.selected,
            "displacements": self.config.displacements,
            "blending": dataclasses.asdict(self.config.blending),
            "retry": None if retry is None else retry.to_dict(),
            "familiar": None if self.familiar is None else self.familiar.to_dict(),
            "training": dataclasses.asdict(self.config),
        }
        return Checkpoint(
            policy="chunk",
            tasks=self.data.tasks,
            config=config,
            contract=self.data.contract,
            statistics=self.normalizer.to_dict(),
            weights=self.average.state_dict(),
            facts=facts,
            success=success,
        )


_SHARED = ("horizon", "channels", "kernels", "strides", "hidden", "dropout", "head", "components", "encoder")


def _cropped(config: BehaviourCloningConfig, data: Demonstrations) -> tuple[int, int]:
    height, width = next((v.shape[1:3] for v in data.images.values()), (0, 0))
    return round(height * config.crop), round(width * config.crop)


def frozen_features(config: BehaviourCloningConfig, data: Demonstrations, seed: int) -> FrozenFeatures:
    """An empty store of maps for trainings on `data` and on data that begins with it."""
    return FrozenFeatures(config.views, _cropped(config, data), config.jitter, seed)


def _names(data: Demonstrations, key: str) -> tuple[str, ...]:
    stream = data.contract.observation[key]
    return stream.names or tuple(map(str, range(stream.shape[0])))
