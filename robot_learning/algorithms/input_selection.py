"""Which inputs matter: objects a task is not about are left out of a clone from state. See docs/input_selection.md.

In twenty demonstrations the places of things that have nothing to do with the task are twenty labels that tell the episodes
apart, and a network learns them by heart instead of looking at the object. On episodes it has not seen they raise the error.

One network stands for all sets of inputs: objects are blanked at random in training, and it is told which (so that "blanked" is
not mistaken for "zero"), as the graph-parameterised policy of de Haan et al. 2019 (Causal confusion in imitation learning, arXiv
1905.11979, section 4.1). Their choice is made by acting or by asking an expert; here it is made on held-out demonstrations.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from robot_learning.contract import STATE
from robot_learning.networks.visuomotor import VisuomotorNetwork, VisuomotorSpec

Told = Callable[[str, str, int, int], None]
"""Is told what is being prepared before the first step of a training, in which unit, how much of it is done, and of how much."""


def unheard(title: str, unit: str, done: int, total: int) -> None:
    """Nobody is to be told."""


PLACE = "place of the tool"
"""Group of the tool's horizontal position: what is to be done is mostly where an object is, not where the robot stands."""


@dataclass(frozen=True)
class InputSelectionConfig:
    """How the choice is made."""

    steps: int = 2000
    """Gradient steps of each network."""
    folds: int = 3
    """Networks; each is tested on the episodes it has not seen."""
    keep: float = 0.5
    """Probability that a training sample sees an object."""
    hidden: tuple[int, ...] = (256, 256)
    """Widths of the network."""
    batch_size: int = 64
    """Frames per step."""
    learning_rate: float = 1e-3
    """Peak learning rate of AdamW; it falls to 1 % as a cosine."""
    noise: float = 0.05
    """Noise on the normalised inputs [standard deviations]."""
    rows: int = 400
    """Held-out frames of each fold that the error is measured on."""


@dataclass(frozen=True)
class InputChoice:
    """What was found.

    Attributes:
        kept: names of the objects that stay, in the order of the inputs.
        error: held-out error with these, in standard deviations of the action chunks; all: with all objects.
        path: the objects in the order in which they were left out, with the error after each.
    """

    kept: tuple[str, ...]
    error: float
    all: float
    path: tuple[tuple[str, float], ...]


def input_groups(names: Mapping[str, Sequence[str]]) -> dict[str, list[tuple[str, int]]]:
    """The objects that can be left out, by the names of the vector elements of each stream: to (stream, index) of each.

    An object is what stands before the first dot ("block.x_from_tcp"); a part ("drawer_handle") belongs to its whole ("drawer")
    where that has elements of its own. Of the robot's own state only the tool's horizontal place is one; the rest always stays.
    """
    groups: dict[str, list[tuple[str, int]]] = {}
    for key, elements in names.items():
        owners = {name.split(".")[0] for name in elements}
        for index, name in enumerate(elements):
            owner = name.split(".")[0]
            if key == STATE:
                if name.endswith((".x", ".y")):
                    groups.setdefault(PLACE, []).append((key, index))
                continue
            whole = [other for other in owners if owner.startswith(other + "_")]
            groups.setdefault(min(whole, key=len, default=owner), []).append((key, index))
    return groups


class InputSelection:
    """The choice for one set of demonstrations.

    Args:
        inputs: `(N, n)` normalised; groups: the columns of each object; the other columns always stay.
        targets: `(N, T, A)` normalised chunks of actions; is_pad: `(N, T)`.
        tasks: `(N,)` which task a frame shows; episodes: `(N,)` which episode it is of.
    """

    def __init__(
        self,
        config: InputSelectionConfig,
        inputs: np.ndarray,
        groups: Mapping[str, Sequence[int]],
        targets: np.ndarray,
        is_pad: np.ndarray,
        tasks: np.ndarray,
        episodes: np.ndarray,
        seed: int,
    ) -> None:
        self.config, self.seed, self.names = config, seed, list(groups)
        self.inputs, self.targets = torch.from_numpy(inputs.astype(np.float32)), torch.from_numpy(targets)
        self.is_pad, self.tasks = torch.from_numpy(is_pad), torch.from_numpy(tasks)
        member = np.zeros((len(groups), inputs.shape[1]), np.float32)
        for row, columns in enumerate(groups.values()):
            member[row, list(columns)] = 1.0
        self.member, self.always = torch.from_numpy(member), torch.from_numpy(1.0 - member.sum(0))
        self.folds = min(config.folds, int(episodes.max()) + 1)
        self.fold = np.random.default_rng(seed).permutation(episodes.max() + 1)[episodes] % self.folds
        self.episodes = episodes
        self._networks: list[VisuomotorNetwork] = []

    def choose(self, told: Told = unheard) -> InputChoice:
        """Leave out one object after the other, each time the one that is missed least; keep the best set on the way."""
        self._networks = [self._train(fold, told) for fold in range(self.folds)]
        present = dict.fromkeys(self.names, True)
        everything = best_error = self._error(present)
        best, path = dict(present), []
        while any(present.values()):
            errors = {name: self._error({**present, name: False}) for name, is_present in present.items() if is_present}
            name = min(errors, key=lambda n: errors[n])
            present[name] = False
            path.append((name, errors[name]))
            if errors[name] <= best_error:
                best, best_error = dict(present), errors[name]
        kept = tuple(name for name in self.names if best[name])
        return InputChoice(kept, best_error, everything, tuple(path))

    def _masked(self, rows: Tensor, mask: Tensor, noise: float = 0.0) -> Tensor:
        inputs = self.inputs[rows]
        if noise:
            inputs = inputs + noise * torch.randn_like(inputs)
        return torch.cat([inputs * (self.always + mask @ self.member), mask], dim=1)

    def _train(self, fold: int, told: Told) -> VisuomotorNetwork:
        """On all episodes but those of the fold; returns the average of the weights along the way."""
        config = self.config
        torch.manual_seed(self.seed + fold)
        network, average = self._network(), self._network()
        average.load_state_dict(network.state_dict())
        average.eval()
        optimizer = torch.optim.AdamW(network.parameters(), config.learning_rate, weight_decay=1e-3, fused=True)
        seen = np.flatnonzero(self.fold != fold)
        rng = np.random.default_rng((self.seed, fold))
        for step in range(config.steps):
            told("choose inputs", "steps", fold * config.steps + step + 1, self.folds * config.steps)
            cosine = 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * step / config.steps))
            optimizer.param_groups[0]["lr"] = config.learning_rate * min(1.0, (step + 1) / 50) * cosine
            rows = torch.from_numpy(rng.choice(seen, config.batch_size))
            mask = (torch.rand(config.batch_size, len(self.names)) < config.keep).float()
            inputs = self._masked(rows, mask, config.noise)
            loss = network.loss(
                network({}, {"inputs": inputs}, self.tasks[rows]), self.targets[rows], self.is_pad[rows]
            )
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            with torch.no_grad():
                rate = 1 - min(0.99, (1 + step) / (10 + step))
                torch._foreach_lerp_(list(average.parameters()), list(network.parameters()), rate)
        return average

    def _network(self) -> VisuomotorNetwork:
        spec = VisuomotorSpec(
            images=(),
            image_size=(0, 0),
            vectors={"inputs": self.inputs.shape[1] + len(self.names)},
            tasks=int(self.tasks.max()) + 1,
            action=self.targets.shape[2],
            horizon=self.targets.shape[1],
            hidden=self.config.hidden,
        )
        return VisuomotorNetwork(spec)

    @torch.inference_mode()
    def _error(self, present: Mapping[str, bool]) -> float:
        """Mean absolute error on the held-out episodes, each of which counts the same."""
        mask = torch.tensor([[float(present[name]) for name in self.names]])
        total, count = np.zeros(self.episodes.max() + 1), np.zeros(self.episodes.max() + 1)
        for fold, network in enumerate(self._networks):
            rows = np.flatnonzero(self.fold == fold)
            rows = rows[:: max(1, len(rows) // self.config.rows)]
            index = torch.from_numpy(rows)
            inputs = self._masked(index, mask.expand(len(rows), -1))
            mode = network.mode(network({}, {"inputs": inputs}, self.tasks[index]))
            valid = (~self.is_pad[index]).float()
            error = ((mode - self.targets[index]).abs().mean(-1) * valid).sum(1) / valid.sum(1)
            np.add.at(total, self.episodes[rows], error.numpy())
            np.add.at(count, self.episodes[rows], 1.0)
        return float((total[count > 0] / count[count > 0]).mean())
