"""`robot-learning up practice` with the simulated robot, a tiny clone and a reward model that sees success in every picture."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from sensor_msgs.msg import Image

from robot_learning.algorithms.cloning_config import BehaviourCloningConfig
from robot_learning.contract import STATE, Contract
from robot_learning.nodes.base import reliable
from robot_learning.rewards import save_reward
from robot_learning.training.collection import collect_demonstrations
from robot_learning.training.config import TrainConfig
from robot_learning.training.offline import train
from tests.nodes.reward_stand_in import OPEN, SIDE, make_model

TASKS = ("open the drawer", "close the drawer")
SURE = 6.0  # log-odds of success, whatever the picture
# in a row until it counts: episodes take two seconds, and one that is cut off early has not succeeded meanwhile
PICTURES = 25
PATIENCE = 120.0  # [s]
# the command, with the camera's cable in the hands of the test; the dead stay so until practice has noticed (after 3 s)
UP = """
import dataclasses, functools, sys
from robot_learning.commands import up
from robot_learning.nodes import supervisor
from robot_learning.nodes.graphs import GRAPHS
supervisor.Respawns = functools.partial(supervisor.Respawns, shortest=5.0)
practice, cable = GRAPHS["practice"], (("front/image_raw", "unplugged/front/image_raw"),)
def nodes(values):
    return [dataclasses.replace(node, remappings=(*node.remappings, *(cable if node.name == "sim_robot" else ())))
            for node in practice.nodes(values)]
GRAPHS["practice"] = dataclasses.replace(practice, nodes=nodes)
sys.exit(up.run(up.Config("practice", tuple(sys.argv[1:]))))
"""
PARAMETERS = {
    "reward": {"questions": [f"{task} = {OPEN}" for task in TASKS], "consecutive": PICTURES, "max_age": 1.0},
    # its time is never up: on a machine that is busy with other things so many pictures in a row take longer than an attempt may
    "practice": {"questions": [f"{task} = {OPEN}" for task in TASKS], "linger": 1, "episode_ticks": 2000},
    "learner": {"min_new_successes": 2, "gradient_steps": 20, "most_gradient_steps": 20},
}


class Practising:
    """Starts the graph and watches it: its diary, its dataset, and what is said on /diagnostics."""

    def __init__(self, graph: Any) -> None:
        self.graph, self.folder, self.run = graph, graph.folder, graph.folder / "run"
        self.clone = _clone(self.folder)
        contract = Contract.load("ur5e_2f85").select([STATE, "observation.images.front"]).with_image_size(SIDE, SIDE)
        (self.folder / "robot.yaml").write_text(yaml.safe_dump(contract.to_dict()))
        parameters = {f"/**/{node}": {"ros__parameters": values} for node, values in PARAMETERS.items()}
        (self.folder / "mine.yaml").write_text(yaml.safe_dump(parameters))
        save_reward(self.folder / "reward", make_model(always=SURE))
        self.dataset, self.diary_file = self.run / "practice", self.run / "practice.jsonl"
        self._plugged = True
        self.told: list[tuple[str, str]] = []  # node and message of everything on /diagnostics, since the last fault
        self.said: dict[str, DiagnosticStatus] = {}
        node = graph.node("witness")
        self._pictures = node.create_publisher(Image, "front/image_raw", reliable(5))
        node.create_subscription(Image, "unplugged/front/image_raw", self._on_picture, reliable(5), raw=True)
        node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, reliable(50))
        self.start()

    def _on_picture(self, raw: bytes) -> None:
        if self._plugged:
            self._pictures.publish(raw)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            name = status.name.lstrip("/")
            self.said[name] = status
            self.told.append((name, status.message))

    def start(self) -> None:
        """The command, always with the same arguments."""
        arguments = {
            "run": self.run, "checkpoint": self.clone, "reward": self.folder / "reward",
            "contract": self.folder / "robot.yaml", "params_file": self.folder / "mine.yaml", "real_time_factor": 1.0,
        }  # fmt: skip
        given = [f"{name}:={value}" for name, value in arguments.items()]
        self.up: subprocess.Popen[bytes] = self.graph.launch("up", ["-c", UP, *given])

    # --- faults -----------------------------------------------------------------------------------------------------------

    def kill(self, name: str) -> None:
        """Kill a node (SIGKILL) that `up` has started."""
        os.kill(self.pids()[name], signal.SIGKILL)
        self.graph.spin(0.2)  # what it said before is still on its way
        self.told.clear()
        self.said.pop(name, None)

    def kill_all(self) -> None:
        """As if the machine had lost its power."""
        family = [self.up.pid, *self.pids().values()]
        for pid in family:
            os.kill(pid, signal.SIGSTOP)  # so that nobody sees another die
        for pid in family:
            os.kill(pid, signal.SIGKILL)
        self.up.wait()
        self.said.clear()
        self.told.clear()

    def unplug(self) -> None:
        """No pictures from now on."""
        self.told.clear()
        self._plugged = False

    def plug_in(self) -> None:
        """Pictures again."""
        self._plugged = True

    def pids(self) -> dict[str, int]:
        """Of each node's last start."""
        started = re.findall(r"started (\w+) \(pid (\d+)\)", self.up.log.read_text())
        return {name: int(pid) for name, pid in started}

    # --- what came of it --------------------------------------------------------------------------------------------------

    def diary(self) -> list[dict[str, Any]]:
        """Its whole lines."""
        lines = self.diary_file.read_text().splitlines(keepends=True) if self.diary_file.exists() else []
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def saved(self) -> int:
        """How many episodes the recorder kept, by the diary."""
        return sum(entry["saved"] for entry in self.diary())

    def version(self) -> int:
        """Round of the policy that acts; -1 while there is none."""
        return int(self.value("policy", "version") or -1)

    def has_told(self, node: str, words: str) -> bool:
        """Whether this was said on /diagnostics since the last fault."""
        return any(name == node and words in text for name, text in self.told)

    def solved(self) -> int:
        """Successes in the diary."""
        return sum(entry["solved"] for entry in self.diary())

    def value(self, node: str, key: str) -> str:
        """Of the node's last word on /diagnostics."""
        return {item.key: item.value for item in self.said[node].values}.get(key, "") if node in self.said else ""

    def until(self, condition: Any, what: str) -> None:
        """Wait for it, while the command runs."""

        def true_or_over() -> bool:
            assert self.up.poll() is None, self.graph.logs()
            return bool(condition())

        try:
            self.graph.until(true_or_over, what, PATIENCE)
        except pytest.fail.Exception as failure:
            pytest.fail(f"{failure.msg}\n{self.account()}")

    def account(self) -> str:
        """The diary's last lines, and what the nodes said last."""
        said = "; ".join(f"{name}: {status.message}" for name, status in self.said.items())
        return "\n".join([*map(json.dumps, self.diary()[-20:]), said])

    def until_solved(self, more: int = 2) -> None:
        """Wait for so many further successes."""
        wanted = self.solved() + more
        self.until(lambda: self.solved() >= wanted, f"{more} more successes in the diary")

    def until_within_an_episode(self) -> None:
        """Wait until one has just begun."""
        self.until(lambda: not self._is_acting(), "the end of an episode")
        self.until(self._is_acting, "an episode")

    def _is_acting(self) -> bool:
        return "policy" in self.said and self.said["policy"].message.startswith("acting")

    def until_told(self, node: str, words: str) -> None:
        """Wait until this was said on /diagnostics since the last fault."""
        self.until(lambda: self.has_told(node, words), f"{node} to say {words!r}")


def _clone(folder: Path) -> Path:
    """A clone from pictures, hardly trained."""
    data, run = folder / "drawer", folder / "clone"
    collect_demonstrations(data, {"open_drawer": 0, "close_drawer": 0}, episodes=1, image_size=SIDE, cameras=("front",))
    shape = {"channels": (4, 4), "kernels": (5, 3), "strides": (2, 1)}
    config = BehaviourCloningConfig(inputs="images", horizon=4, hidden=(16,), batch_size=8, **shape)
    train(TrainConfig(dataset=str(data), run=str(run), steps=5, threads=1, bc=config))
    return run / "checkpoints" / "last"
