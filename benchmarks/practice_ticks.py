"""Whether control keeps its beat while the learner trains: the practice graph in real time, all of it on this machine.

    python benchmarks/practice_ticks.py --job runs/demo --seconds 180 --json

Goes on with a copy of the practice of a finished `robot-learning demo`, so that there are successes to train on, and listens to
what the safety gate sends to the controllers while the policy acts. A tick is late when it comes more than 20 ms after its beat:
more than 120 ms after the tick before, for a rate of 10 Hz, by the wall clock of the listener. Ticks are counted apart by
whether the learner was at work then. With `--run FOLDER` practice begins anew there, with the policy that the job's practice
began with, and is kept: its diary, its policies, and the ticks (`ticks.npy`: arrival [s], whether the learner trained).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from robot_learning.nodes import graphs

os.environ.update(graphs.environment())
os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")

import rclpy
from diagnostic_msgs.msg import DiagnosticStatus
from sensor_msgs.msg import JointState

LATE = 0.020  # [s]
PAUSE = 1.0  # longer gaps are between episodes, when the policy rests [s]


class Listener:
    """Arrival times of the policy's actions `[s]`, and whether the learner trained at each."""

    def __init__(self, node: Any) -> None:
        self.ticks: list[tuple[float, bool]] = []
        self.training = False
        node.create_subscription(JointState, "safety_gate/action_sent", self._on_sent, 20)
        node.create_subscription(DiagnosticStatus, "learner/status", self._on_learner, 5)

    def _on_sent(self, message: JointState) -> None:
        if message.header.frame_id == "policy":
            self.ticks.append((time.monotonic(), self.training))

    def _on_learner(self, message: DiagnosticStatus) -> None:
        self.training = any(item.key == "steps" and float(item.value) > 0 for item in message.values)


def measure(job: Path, run: Path, furniture: int, seconds: float, rate: float) -> dict[str, Any]:
    """Practise in `run` with what the job's practice began with, and listen for so long."""
    words = [sys.executable, "-m", "robot_learning.commands.main", "up", "practice", f"run:={run}", "bags:=false"]
    words += [
        f"checkpoint:={begins if (begins := job / 'pretrain').exists() else job / 'clone'}",
        f"reward:={job / 'reward'}",
        f"furniture:={furniture}",
        "steps:=1000000",
    ]
    rclpy.init()
    node = rclpy.create_node("practice_ticks")
    listener = Listener(node)
    log = (run / "ticks.log").open("w")
    graph = subprocess.Popen(words, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        while not listener.ticks and graph.poll() is None:
            rclpy.spin_once(node, timeout_sec=0.5)
        end = time.monotonic() + seconds
        while time.monotonic() < end and graph.poll() is None:
            rclpy.spin_once(node, timeout_sec=0.5)
    finally:
        graph.send_signal(signal.SIGINT)
        graph.wait()
        node.destroy_node()
        rclpy.shutdown()
    np.save(run / "ticks.npy", np.array(listener.ticks, float))
    if not listener.ticks:
        sys.exit(f"the policy never acted; see {run / 'ticks.log'}")
    return summary(listener.ticks, rate)


def summary(ticks: list[tuple[float, bool]], rate: float) -> dict[str, Any]:
    """Late ticks in all, and while the learner trained."""
    at, training = np.array([t for t, _ in ticks]), np.array([busy for _, busy in ticks])
    gaps, busy = np.diff(at), training[1:]
    inside = gaps < PAUSE
    late = gaps > 1 / rate + LATE
    told: dict[str, Any] = {"ticks": int(inside.sum()), "while_training": int((inside & busy).sum())}
    for name, chosen in (("late_share", inside), ("late_share_training", inside & busy)):
        told[name] = float(late[chosen].mean()) if chosen.any() else None
    told["gap_ms_p50"], told["gap_ms_p99"] = (float(1e3 * np.quantile(gaps[inside], q)) for q in (0.5, 0.99))
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--job", type=Path, default=Path("runs/demo"), help="folder of a finished `robot-learning demo`"
    )
    parser.add_argument("--run", type=Path, help="practise anew in this folder, and keep it")
    parser.add_argument("--furniture", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=180.0)
    parser.add_argument("--rate", type=float, default=10.0, help="of the contract [Hz]")
    parser.add_argument("--json", action="store_true", help="print one JSON object last")
    args = parser.parse_args()
    if args.run:
        args.run.mkdir(parents=True)
        told = measure(args.job, args.run, args.furniture, args.seconds, args.rate)
    else:
        with tempfile.TemporaryDirectory() as temporary:
            shutil.copytree(args.job / "practice", Path(temporary) / "run")
            told = measure(args.job, Path(temporary) / "run", args.furniture, args.seconds, args.rate)
    print(
        f"{told['ticks']} ticks, {told['while_training']} of them while the learner trained: "
        f"{told['late_share']:.1%} late by more than {1e3 * LATE:.0f} ms; gaps {told['gap_ms_p50']:.0f} ms at the median, "
        f"{told['gap_ms_p99']:.0f} ms at the 99th percentile"
    )
    if args.json:
        print(json.dumps(told))


if __name__ == "__main__":
    main()
