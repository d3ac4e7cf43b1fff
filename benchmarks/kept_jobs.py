"""Results of finished jobs, committed: a grid of many CPU hours is measured in parts, over days and on any machine.

`RESULTS/NAME_jobs/JOB.json` is what one job measured. What is kept there with the same settings is not measured again, unless
--again is given.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class KeptJobs:
    """Finished jobs of the benchmark `name` below `results`."""

    def __init__(self, results: Path, name: str) -> None:
        self.folder = results / f"{name}_jobs"

    def read(self, job: str, facts: Mapping[str, Any]) -> dict[str, Any]:
        """The result of `job`; empty where there is none, or one that was measured with other settings than `facts`."""
        path = self.folder / f"{job}.json"
        if not path.is_file():
            return {}
        result: dict[str, Any] = json.loads(path.read_text())
        same = all(result["job"].get(key) == value for key, value in json.loads(json.dumps(facts)).items())
        return result if same else {}

    def write(self, job: str, result: Mapping[str, Any]) -> None:
        """Whole or not at all."""
        self.folder.mkdir(parents=True, exist_ok=True)
        partial = self.folder / f"{job}.tmp"
        partial.write_text(json.dumps(result, separators=(",", ":")) + "\n")
        os.replace(partial, self.folder / f"{job}.json")
