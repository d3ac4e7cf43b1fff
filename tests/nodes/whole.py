"""The whole graph for tests of faults: robot, gate, policy and recorder as processes, and a relay to break things in."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import Float64MultiArray
from std_srvs.srv import Trigger

from robot_learning.contract import STATE, Contract
from robot_learning.networks import VisuomotorNetwork, VisuomotorSpec
from robot_learning.nodes.base import SECOND, latched, reliable, stamp_to_ns
from robot_learning.policies import Checkpoint, Normalizer, save_checkpoint

sys.path.insert(0, str(Path(__file__).parent))
import gate_peer

FRONT = "observation.images.front"
TASK = "open the drawer"
PICTURE = (32, 40)  # height, width
RELAYED = {"joint_states": JointState, "front/image_raw": Image, "/clock": Clock}


def small_contract() -> Contract:
    """The UR5e with one small camera, so that the tests are about faults and not about the machine's speed."""
    return Contract.load("ur5e_2f85").select([STATE, FRONT]).with_image_size(*PICTURE)


def small_checkpoint(path: Path, contract: Contract) -> Path:
    """An untrained policy that moves a little."""
    torch.manual_seed(0)
    spec = VisuomotorSpec(
        images=(FRONT,), image_size=PICTURE, vectors={STATE: 18}, tasks=1, action=5, horizon=4,
        channels=(4, 4), kernels=(5, 3), strides=(2, 1), hidden=(16,),
    )  # fmt: skip
    columns = np.random.default_rng(1)
    normalizer = Normalizer.fit({STATE: columns.normal(size=(50, 18)), "action": columns.uniform(-0.2, 0.2, (50, 5))})
    selected = {STATE: list(range(18))}
    config = {
        "network": spec.to_dict(),
        "selected": selected,
        "displacements": False,
        "blending": {"every": 1},
    }
    weights = VisuomotorNetwork(spec).state_dict()
    return save_checkpoint(path, Checkpoint("chunk", [TASK], config, contract, normalizer.to_dict(), weights))


PERIOD = 0.1  # of control [s]


def unplugged(topic: str) -> str:
    """Where the robot publishes what the relay passes on as `topic`."""
    return f"unplugged/{topic.lstrip('/')}"


class Whole:
    """Starts the graph and watches it. `tamper[topic]` changes or swallows (None) what the relay passes on.

    What was commanded, and when, is what a node of this process received on the controllers' topics; times are those of the
    system's clock [ns].
    """

    def __init__(
        self, graph, sim_time: bool = False, recorder: bool = False, dataset: Path | None = None, **recording: object
    ) -> None:
        self.graph, self.folder, self.sim_time = graph, graph.folder, sim_time
        self.contract = small_contract()
        self.contract_file = graph.folder / "robot.yaml"
        self.contract_file.write_text(yaml.safe_dump(self.contract.to_dict()))
        self.checkpoint = small_checkpoint(graph.folder / "policy", self.contract)
        self.dataset = dataset or graph.folder / "dataset"
        self.tamper: dict[str, Callable[[Any], Any]] = {}
        self._passed: dict[str, int] = {}  # when the last sound message of a topic was passed on
        self._broken: dict[str, int] = {}  # since when it is tampered with
        self.commands: list[Float64MultiArray] = []  # to the arm
        self.commanded: list[tuple[int, list[float]]] = []  # to arm or gripper: when it was received, what
        self.sent: list[tuple[int, JointState]] = []  # when it was received, what the gate reports as carried out
        self.states: list[DiagnosticStatus] = []
        self.diagnostics: dict[str, DiagnosticStatus] = {}
        self.told: list[tuple[str, str]] = []  # everything on /diagnostics: node, message
        self.joints: JointState | None = None
        self._relay()
        self._watch()
        self.sim = self.start_sim()
        watch = {"watch": ["recorder"]} if recorder else {}
        self.gate = self.start("safety_gate", **watch)
        if recorder:
            self.recorder = self.start("recorder", dataset=str(self.dataset), task=TASK, **recording)
        self.policy = self.start("policy", checkpoint=str(self.checkpoint), task=TASK)

    def start(self, module: str, *arguments: str, **parameters: object):
        return self.graph.start(
            module, *arguments, contract=str(self.contract_file), use_sim_time=self.sim_time, **parameters
        )

    def start_sim(self):
        remaps = [part for topic in RELAYED for part in ("-r", f"{topic}:={unplugged(topic)}")]
        return self.start("sim_robot", *remaps, publish_clock=self.sim_time, environment_state=False)

    def _relay(self) -> None:
        node = self.graph.node("relay")
        for topic, kind in RELAYED.items():
            publisher = node.create_publisher(kind, topic, reliable(20))

            def pass_on(message, topic=topic, publisher=publisher) -> None:
                change = self.tamper.get(topic)
                if change is None:
                    publisher.publish(message)
                    self._passed[topic] = time.time_ns()
                    return
                message, now = change(message), time.time_ns()
                self._broken.setdefault(topic, now if message is not None else self._passed[topic])
                if message is not None:
                    publisher.publish(message)

            node.create_subscription(kind, unplugged(topic), pass_on, reliable(20))

    def _watch(self) -> None:
        node = self.node = self.graph.node("witness")
        node.create_subscription(Float64MultiArray, self.contract.action.topic, self._on_arm, reliable(100))
        node.create_subscription(Float64MultiArray, self.contract.gripper.topic, self._on_command, reliable(100))
        node.create_subscription(JointState, "safety_gate/action_sent", self._on_sent, reliable(100))
        node.create_subscription(DiagnosticStatus, "safety_gate/state", self.states.append, latched())
        node.create_subscription(JointState, "unplugged/joint_states", self._on_joints, reliable(100))
        node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, reliable(50))

    def _on_arm(self, message: Float64MultiArray, info: dict[str, int]) -> None:
        self.commands.append(message)
        self._on_command(message, info)

    def _on_command(self, message: Float64MultiArray, info: dict[str, int]) -> None:
        self.commanded.append((info["received_timestamp"], list(message.data)))

    def _on_sent(self, message: JointState, info: dict[str, int]) -> None:
        self.sent.append((info["received_timestamp"], message))

    def _on_joints(self, message: JointState) -> None:
        self.joints = message

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        self.diagnostics.update({status.name: status for status in message.status})
        self.told += [(status.name, status.message) for status in message.status]

    # --- what the tests ask -------------------------------------------------------------------------------------------

    def acted(self) -> list[int]:
        """The times of the frames [ns] that the carried out actions answer."""
        return [stamp_to_ns(m.header.stamp) for _, m in self.sent if m.header.frame_id != "hold"]

    def until_acting(self) -> None:
        """Wait until the policy moves the robot."""
        before = len(self.acted())
        self.graph.until(lambda: len(self.acted()) >= before + 5, "the policy to act", 60)

    def now(self) -> int:
        """The time on the robot's messages [ns]."""
        assert self.joints is not None
        return stamp_to_ns(self.joints.header.stamp)

    def kill(self, process) -> int:
        """Kill a process (SIGKILL); returns when."""
        self.told.clear()
        fault = time.time_ns()
        self.graph.kill(process)
        return fault

    def until_holding(self, *reason: str) -> None:
        """Wait until the gate says that it holds, for this reason (all of the words)."""
        self.graph.until(
            lambda: (
                self.states
                and self.states[-1].level != DiagnosticStatus.OK
                and all(word in self.states[-1].message for word in reason)
            ),
            f"the gate to hold: {reason}; it says {self.states[-1:]}",
        )

    def breaks(self, topic: str, change: Callable[[Any], Any]) -> int:
        """Tamper with a topic from now on; returns when it began: the first changed message, or the last before silence."""
        self._broken.pop(topic, None)
        self.told.clear()
        self.tamper[topic] = change
        self.graph.until(lambda: topic in self._broken, f"a message on {topic}")
        return self._broken[topic]

    def holds_since(self, fault: int, tolerated: float) -> None:
        """The arm got no more commands than fit into `tolerated` [s] after `fault` [ns], and one that was under way then.

        They are counted, a second from now, and not timed: a process that dies by SIGKILL may keep who sends to it waiting until
        it is missed, and what was under way is sent only then.
        """
        self.graph.spin(1.0)
        late = [at for at, values in self.commanded if at > fault and len(values) > 1 and values != gate_peer.ARM]
        most = round(tolerated / PERIOD) + 1
        print(f"{len(late)} commands after the fault, {most} allowed")
        assert len(late) <= most, f"commands {[(at - fault) / SECOND for at in late]} s after the fault"

    def diagnosed(self, node: str, *words: str) -> None:
        """Wait until /diagnostics has said this of a node since the fault."""
        self.graph.until(
            lambda: any(name == f"/{node}" and all(word in text for word in words) for name, text in self.told),
            f"/diagnostics of {node} to say {words}; it says {self.diagnostics.get(f'/{node}')}",
        )

    def call(self, service: str) -> str:
        """Call a Trigger service that must succeed."""
        response = self.graph.call(Trigger, service)
        assert response.success, response.message
        return response.message
