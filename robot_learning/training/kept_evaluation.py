"""An evaluation kept episode by episode: one that was stopped goes on, and one of other weights does not count."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from robot_learning.data.files import write_json
from robot_learning.errors import UserError
from robot_learning.policies import loader, read_checkpoint
from robot_learning.training.evaluation import EpisodeResult, EvaluationResult, evaluate, make_playroom, summarise


class KeptEvaluation:
    """The evaluation of a checkpoint on `episodes` episodes of each of the `tasks` from `seed`, kept in the file `path`.

    `furniture`: seed of where it stands in all episodes; None: elsewhere in each. `retry`: the policy may try again.
    """

    def __init__(
        self,
        path: Path,
        checkpoint: Path,
        tasks: Sequence[str],
        episodes: int,
        seed: int,
        furniture: int | None = None,
        retry: bool = False,
    ) -> None:
        self.retry = retry
        self.path, self.checkpoint, self.furniture = path, checkpoint, furniture
        self.tasks, self.episodes, self.seed = tuple(tasks), episodes, seed

    def run(self, processes: int) -> None:
        """Run the episodes that are missing; each is committed on its own."""
        results, weights = self._known(), self._weights()

        def commit(result: EpisodeResult) -> None:
            results.append(result)
            episodes = [{k: v for k, v in vars(r).items() if k != "views"} for r in results]
            write_json(self.path, {"weights": weights, "episodes": episodes})

        evaluate(
            loader(self.checkpoint, self.retry),
            self.tasks,
            episodes=self.episodes,
            seed=self.seed,
            processes=processes,
            make_env=partial(make_playroom, furniture=self.furniture),
            known=tuple(results),
            on_result=commit,
        )

    def result(self) -> EvaluationResult:
        """What was measured so far."""
        return summarise(self._known(), self.tasks, self.seed)

    def _known(self) -> list[EpisodeResult]:
        """The episodes so far, none when they measured other weights. Raises `UserError` when the file is damaged."""
        if not self.path.is_file() or not self.checkpoint.is_dir():
            return []
        try:
            data = json.loads(self.path.read_text(encoding="utf-8"))
            of, results = data["weights"], [EpisodeResult(**fields) for fields in data["episodes"]]
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"{self.path}: expected the episodes of an evaluation, found what cannot be read ({error!r}); remove the file, "
                "and they are measured again"
            ) from error
        return results if of == self._weights() else []

    def _weights(self) -> str:
        read_checkpoint(self.checkpoint)  # puts back a checkpoint whose replacement was cut short
        digest = hashlib.sha256()
        for path in sorted(self.checkpoint.glob("*.safetensors")):
            digest.update(path.read_bytes())
        return digest.hexdigest()[:16]
