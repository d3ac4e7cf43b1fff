"""From a camera's picture to the robot's command: our graph against the plain way, in one run.

    python benchmarks/ros_latency.py --seconds 30 --json

Both sides carry the same load, every part a process of its own: two cameras 640x480 at 29.97 Hz (a camera's clock is not the
computer's, so that within half a minute a timer that knows nothing of them has met them at every moment of their period), joint
states at 125 Hz, the same policy network (the size that `make demo` trains, untrained) at 10 Hz, the same inverse kinematics, and
a recorder that stores each message. Ours is this package's nodes (shared-memory profile, raw subscriptions, events executor,
ticks in phase with the pictures, MCAP + LeRobot v3 at once). Plain is what the tutorials show (`benchmarks/plain_ros.py`):
default QoS and transport, `msg.data = picture.tobytes()`, default executor, a timer that takes the last picture; its recorder
writes the messages with rosbags.

Latency is the time from the stamp of the older of the two pictures an action was computed from to the publication of the
command (the middleware's source time stamp). Lost are pictures that were published and never came to the recorder.
What cannot be won is the time between the two cameras' pictures, so it is set, the same for both sides: the wrist camera's come
so many milliseconds after the front one's (`--apart`; 0: as with a common trigger, 16: half a period, the worst there is).
The two sides take turns at each; the last line is one JSON object, over all of them, with the figures of each in `apart`.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
os.environ.setdefault("ROS_DOMAIN_ID", "77")

import numpy as np  # noqa: E402
from ros_latency_parts import Side  # noqa: E402
from ros_latency_sides import measure_ours, measure_plain  # noqa: E402


def main() -> None:
    """Run both sides in turn and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=30.0, help="measured time of each side")
    parser.add_argument("--rounds", type=int, default=1, help="how often the sides take turns")
    parser.add_argument("--apart", type=float, nargs="+", default=[0, 8, 16], help="time between the two cameras [ms]")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    parser.add_argument("--save", type=Path, help="write the table to this file too")
    arguments = parser.parse_args()

    ours: dict[float, list[Side]] = {apart: [] for apart in arguments.apart}
    plain: dict[float, list[Side]] = {apart: [] for apart in arguments.apart}
    for apart in [*arguments.apart] * arguments.rounds:
        with tempfile.TemporaryDirectory() as folder:
            ours[apart].append(measure_ours(Path(folder), arguments.seconds, apart))
        with tempfile.TemporaryDirectory() as folder:
            plain[apart].append(measure_plain(Path(folder), arguments.seconds, apart))
    measured = arguments.seconds * arguments.rounds
    result = summarise(merge(all_of(ours)), merge(all_of(plain)), measured * len(ours))
    result["apart"] = {f"{apart:g}": summarise(merge(ours[apart]), merge(plain[apart]), measured) for apart in ours}
    for apart, part in result["apart"].items():
        print(f"\n{apart} ms between the cameras")
        print_table(part)
    print("\nall")
    print_table(result)
    if arguments.save:
        arguments.save.write_text(json.dumps(result, indent=1) + "\n")
    if arguments.json:
        print(json.dumps(result))


def all_of(turns: dict[float, list[Side]]) -> list[Side]:
    """Every turn of one side."""
    return [turn for some in turns.values() for turn in some]


def merge(parts: list[Side]) -> Side:
    """Several turns of one side as one."""
    return Side(
        np.concatenate([p.latencies for p in parts]),
        sum(p.published for p in parts),
        sum(p.stored for p in parts),
        float(np.mean([p.recorder_cpu for p in parts])),
        sum(p.commands for p in parts),
    )


def summarise(ours: Side, plain: Side, seconds: float) -> dict[str, Any]:
    """The figures, ours and plain side by side."""
    found: dict[str, Any] = {"seconds": seconds, "time": time.strftime("%Y-%m-%d")}
    for prefix, side in (("", ours), ("plain_", plain)):
        found |= {
            f"{prefix}lost": side.published - side.stored,
            f"{prefix}published": side.published,
            f"{prefix}commands": side.commands,
            f"{prefix}p50_ms": round(side.percentile(50), 1),
            f"{prefix}p99_ms": round(side.percentile(99), 1),
            f"{prefix}recorder_cpu": round(side.recorder_cpu, 3),
        }
    found["p99_ratio"] = round(plain.percentile(99) / ours.percentile(99), 2)
    return found


def print_table(found: dict[str, Any]) -> None:
    """For people."""
    print(f"{'':22}{'ours':>12}{'plain':>12}")
    for key in ("published", "lost", "commands", "p50_ms", "p99_ms", "recorder_cpu"):
        print(f"{key:22}{found[key]:>12}{found['plain_' + key]:>12}")
    print(f"p99: plain / ours = {found['p99_ratio']}")


if __name__ == "__main__":
    main()
