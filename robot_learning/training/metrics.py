"""Metrics of a run: one JSON object a line in `metrics.jsonl`, and the same in TensorBoard."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter

FILE = "metrics.jsonl"


class MetricsLog:
    """Appends metrics by step. When a run goes on from `resume_step`, what was logged after that step is dropped first."""

    def __init__(self, run: Path, resume_step: int = 0) -> None:
        self.path = run / FILE
        kept = [row for row in read_metrics(run) if row["step"] <= resume_step] if resume_step else []
        partial = self.path.with_suffix(".tmp")
        partial.write_text("".join(json.dumps(row) + "\n" for row in kept))
        os.replace(partial, self.path)
        self._file = self.path.open("a")
        self._board = SummaryWriter(str(run), purge_step=resume_step + 1 if resume_step else None)

    def log(self, step: int, values: dict[str, float]) -> None:
        """Write `values`, whose names are `group/name` ("train/loss")."""
        self._file.write(json.dumps({"step": step, **values}) + "\n")
        self._file.flush()
        for name, value in values.items():
            self._board.add_scalar(name, value, step)

    def close(self) -> None:
        """Flush and close both."""
        self._file.close()
        self._board.close()


def read_metrics(run: Path) -> list[dict[str, Any]]:
    """Every row of a run's `metrics.jsonl`; a last line cut short by a crash is left out."""
    path = run / FILE
    rows = []
    for line in path.read_text().splitlines() if path.is_file() else []:
        try:
            rows.append(json.loads(line))
        except ValueError:
            break
    return rows
