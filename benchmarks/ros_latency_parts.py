"""What both sides of `ros_latency.py` share: the contract, the policy, their processes, and what a side shows."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import yaml

from robot_learning import paths
from robot_learning.contract import IMAGE_PREFIX, STATE, Contract
from robot_learning.networks import VisuomotorNetwork, VisuomotorSpec
from robot_learning.policies import Checkpoint, Normalizer, save_checkpoint

CAMERAS = ("front", "wrist")
SIZE = [480, 640, 3]
HERE = Path(__file__).resolve().parent
CAMERA_RATE = 29.97
TASK = "open the drawer"


def write_contract(folder: Path) -> Path:
    """The UR5e's contract with cameras of 640x480 that frames shrink to 96x96."""
    plain = Contract.load("ur5e_2f85").to_dict()
    for camera in CAMERAS:
        plain["observation"][IMAGE_PREFIX + camera]["source_shape"] = SIZE
    plain["workspace"] = {"lower": [0.2, -0.6, -0.1], "upper": [0.9, 0.6, 0.6]}
    path = folder / "contract.yaml"
    path.write_text(yaml.safe_dump(plain, sort_keys=False))
    return path


def write_checkpoint(folder: Path, contract: Contract) -> Path:
    """An untrained policy of the size that `make demo` trains."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    images = tuple(IMAGE_PREFIX + camera for camera in CAMERAS)
    spec = VisuomotorSpec(images=images, image_size=(88, 88), vectors={STATE: 18}, tasks=2, action=5, horizon=12)
    statistics = Normalizer.fit({STATE: rng.normal(size=(50, 18)), "action": rng.uniform(-0.01, 0.01, (50, 5))})
    config = {
        "network": spec.to_dict(),
        "selected": {STATE: list(range(18))},
        "displacements": True,
        "blending": {"every": 1},
    }
    tasks = ["close the drawer", TASK]
    weights = VisuomotorNetwork(spec).state_dict()
    streams = contract.select([STATE, *images])
    save_checkpoint(folder / "policy", Checkpoint("chunk", tasks, config, streams, statistics.to_dict(), weights))
    return folder / "policy"


@dataclass
class Side:
    """What one side showed: latencies [ms], pictures published and stored, CPU share of its recorder."""

    latencies: np.ndarray
    published: int
    stored: int
    recorder_cpu: float
    commands: int

    def percentile(self, q: float) -> float:
        """Of the latencies [ms]; infinite when no command came."""
        return float(np.percentile(self.latencies, q)) if len(self.latencies) else float("inf")


class Processes:
    """The processes of one side; stopped, in reverse order, when the side is done."""

    def __init__(self, folder: Path, profile: bool) -> None:
        self.folder, self.running = folder, {}
        self.environment = dict(os.environ)
        if profile:
            self.environment["FASTDDS_DEFAULT_PROFILES_FILE"] = str(paths.config("fastdds.xml"))

    def start(self, name: str, command: list[str]) -> None:
        log = (self.folder / f"{name}.log").open("wb")
        self.running[name] = subprocess.Popen(
            [sys.executable, *command], stdout=log, stderr=subprocess.STDOUT, env=self.environment
        )

    def cpu(self, name: str) -> float:
        """CPU seconds a process has used so far."""
        fields = Path(f"/proc/{self.running[name].pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def check(self) -> None:
        for name, process in self.running.items():
            if process.poll() is not None:
                raise SystemExit(f"{name} ended: {(self.folder / f'{name}.log').read_text()[-2000:]}")

    def stop(self) -> None:
        for process in reversed(self.running.values()):
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
        for process in self.running.values():
            try:
                process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                process.kill()
