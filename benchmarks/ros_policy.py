"""The same policy in the Gymnasium environment and through the ROS graph, from the same starts.

    python benchmarks/ros_policy.py runs/drawer/checkpoints/last --episodes 100 --json

The graph is sim_robot, safety_gate and policy, each a process of its own. `--pacing lockstep` (default) lets the simulation wait
for each command, so that the machine's speed plays no part; `--pacing real_time` lets it run at `--factor` times real time with
all latencies a robot would see. Success is the playroom's own predicate; an episode ends with it or after 150 control ticks.
Finished episodes are kept in `--progress`, and a run that was interrupted goes on there.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
os.environ.setdefault("ROS_DOMAIN_ID", "76")

from robot_learning import paths  # noqa: E402

os.environ.setdefault("FASTDDS_DEFAULT_PROFILES_FILE", str(paths.config("fastdds.xml")))

import rclpy  # noqa: E402
from rclpy.node import Node  # noqa: E402
from ros_latency_parts import Processes  # noqa: E402
from sensor_msgs.msg import JointState  # noqa: E402
from std_msgs.msg import Bool, String  # noqa: E402
from std_srvs.srv import Trigger  # noqa: E402

from robot_learning.envs.tasks import TASKS  # noqa: E402
from robot_learning.nodes.base import latched, reliable  # noqa: E402
from robot_learning.training import evaluation  # noqa: E402
from robot_learning.training.intervals import wilson  # noqa: E402

TIME_LIMIT = 150  # [control ticks], as the registered environment
PATIENCE = 60.0  # longest wait for the graph [s]


class Evaluator:
    """Resets the simulation, lets the policy act, and watches for success."""

    def __init__(self) -> None:
        rclpy.init()
        self.node = Node("evaluator")
        self.success, self.ticks, self.held = False, 0, 0
        self.node.create_subscription(Bool, "success", self._on_success, reliable(10))
        self.node.create_subscription(JointState, "safety_gate/action_sent", self._on_sent, reliable(20))
        self.task = self.node.create_publisher(String, "task", latched())

    def _on_success(self, message: Bool) -> None:
        self.success = self.success or message.data

    def _on_sent(self, message: JointState) -> None:
        if message.header.frame_id == "policy":
            self.ticks += 1
        else:
            self.held += 1

    def call(self, service: str) -> str:
        client = self.node.create_client(Trigger, service)
        if not client.wait_for_service(timeout_sec=PATIENCE):
            raise SystemExit(f"no service {service}")
        future = client.call_async(Trigger.Request())
        rclpy.spin_until_future_complete(self.node, future, timeout_sec=PATIENCE)
        if not future.done() or not future.result().success:
            raise SystemExit(f"{service}: {future.result().message if future.done() else 'no answer'}")
        self.node.destroy_client(client)
        return str(future.result().message)

    def episode(self, processes: Processes) -> tuple[bool, int, int]:
        """One episode from a full reset: success, control ticks of the policy, ticks the gate held in between."""
        self.call("policy/stop")
        self.call("sim_robot/reset")
        self._settle()
        self.success, self.ticks, self.held = False, 0, 0
        self.call("policy/start")
        deadline = time.monotonic() + PATIENCE
        while not self.success and self.ticks < TIME_LIMIT:
            rclpy.spin_once(self.node, timeout_sec=0.05)
            if time.monotonic() > deadline:
                processes.check()
                raise SystemExit(f"an episode did not end: {self.ticks} ticks; see {processes.folder}")
        return self.success, self.ticks, self.held

    def _settle(self) -> None:
        """Take what was under way before the reset out of the queues."""
        for _ in range(50):
            rclpy.spin_once(self.node, timeout_sec=0.0)


def start_graph(folder: Path, arguments: argparse.Namespace, task: str, seed: int) -> Processes:
    """The three processes, the simulation about to be reset with `seed`."""
    processes = Processes(folder, profile=True)
    lockstep = arguments.pacing == "lockstep"
    pacing = {"lockstep": "true", "real_time_factor": 0.0} if lockstep else {"real_time_factor": arguments.factor}
    parameters: dict[str, dict[str, Any]] = {
        "sim_robot": {"task": task, "seed": seed - 1, **pacing},
        "safety_gate": {},
        "policy": {
            "checkpoint": arguments.checkpoint.resolve(),
            "act_at_once": "false",
            "trigger": "frames" if lockstep else "timer",
        },
    }
    for name, values in parameters.items():
        common = {"contract": arguments.contract, "use_sim_time": "true", **values}
        options = [part for key, value in common.items() for part in ("-p", f"{key}:={value}")]
        processes.start(name, ["-m", f"robot_learning.nodes.{name}", "--ros-args", *options])
    return processes


def through_graph(arguments: argparse.Namespace, task: str, known: dict[str, Any]) -> None:
    """Run the episodes that `known` lacks and note each there."""
    todo = [s for s in range(arguments.seed, arguments.seed + arguments.episodes) if f"{task}/{s}" not in known]
    if not todo:
        return
    evaluator = Evaluator()
    with tempfile.TemporaryDirectory() as folder:
        processes = start_graph(Path(folder), arguments, task, todo[0])
        try:
            evaluator.task.publish(String(data=TASKS[task].instruction))
            for seed in range(todo[0], todo[-1] + 1):
                started = time.monotonic()
                success, ticks, held = evaluator.episode(processes)
                known[f"{task}/{seed}"] = [success, ticks, held]
                arguments.progress.write_text(json.dumps(known))
                mine = [v[0] for k, v in known.items() if k.startswith(f"{task}/")]
                spent = time.monotonic() - started
                print(
                    f"{task} {seed}: {success} after {ticks} ticks, {spent:.1f} s; {sum(mine)}/{len(mine)}", flush=True
                )
        finally:
            processes.stop()
            evaluator.node.destroy_node()
            rclpy.shutdown()


def compare(arguments: argparse.Namespace, task: str, known: dict[str, Any]) -> dict[str, Any]:
    """Successes of one task through the graph and in the environment, from the same starts."""
    through_graph(arguments, task, known)
    graph = [known[f"{task}/{arguments.seed + i}"] for i in range(arguments.episodes)]
    direct = evaluation.evaluate(
        str(arguments.checkpoint),
        [task],
        episodes=arguments.episodes,
        seed=arguments.seed,
        processes=arguments.processes,
    ).tasks[task]
    wins = sum(bool(success) for success, _, _ in graph)
    found = {
        "episodes": arguments.episodes,
        "graph": wins,
        "graph_interval": [round(x, 3) for x in wilson(wins, arguments.episodes)],
        "environment": direct.successes,
        "environment_interval": [round(x, 3) for x in direct.interval],
        "difference_points": round(100 * (wins - direct.successes) / arguments.episodes, 1),
        "held_ticks": sum(held for _, _, held in graph),
    }
    print(task, found, flush=True)
    return found


def main() -> None:
    """Both ways for each task, and their difference."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--task", nargs="+", default=["open_drawer", "close_drawer"])
    parser.add_argument("--episodes", type=int, default=100)
    parser.add_argument("--seed", type=int, default=400000, help="of the first episode; the others follow")
    parser.add_argument("--contract", default="ur5e_2f85")
    parser.add_argument("--pacing", choices=("lockstep", "real_time"), default="lockstep")
    parser.add_argument("--factor", type=float, default=1.0, help="real-time factor of --pacing real_time")
    parser.add_argument(
        "--progress", type=Path, help="file of finished episodes; default: beside the checkpoint's folder"
    )
    parser.add_argument("--processes", type=int, default=2, help="of the in-process evaluation")
    parser.add_argument("--save", type=Path, help="write the result to this file too")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    arguments = parser.parse_args()
    weights = hashlib.sha256((arguments.checkpoint / "weights.safetensors").read_bytes()).hexdigest()[:12]
    stem = f"ros_policy_{weights}_{arguments.pacing}_{arguments.factor:g}.json"  # results of one policy in one setting
    arguments.progress = arguments.progress or arguments.checkpoint.parent / stem
    known = json.loads(arguments.progress.read_text()) if arguments.progress.is_file() else {"weights": weights}
    if known["weights"] != weights:
        raise SystemExit(f"{arguments.progress} holds episodes of another policy ({known['weights']}, not {weights})")
    tasks = {task: compare(arguments, task, known) for task in arguments.task}
    settings = {name: getattr(arguments, name) for name in ("pacing", "factor", "seed")}
    result = {**settings, "weights": weights, "tasks": tasks}
    if arguments.save:
        arguments.save.write_text(json.dumps(result, indent=1) + "\n")
    if arguments.json:
        print(json.dumps(result))


if __name__ == "__main__":
    sys.exit(main())
