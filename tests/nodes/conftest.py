"""For every test of a node: real rclpy over real DDS, on this machine only, each corner of the graph in a domain of its own.

Fast DDS keeps mutexes in shared memory, and a process that dies by SIGKILL may hold one for ever: who then sends to its port, or
leaves the graph, waits where no signal reaches it, or crashes. So what one test kills must not meet the next (another domain has
other ports), and the process of the tests itself takes no part in the shared memory: it speaks UDP with the nodes, which among
themselves use the package's profile.
"""

import gc
import os
import random
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

# Processes that run the tests side by side (pytest-xdist) share the domains out. Above 101 their ports are those that Linux
# gives to clients.
FIRST, STEP = (
    int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]),
    int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")),
)
DOMAINS = random.SystemRandom().sample(own := range(1 + FIRST, 101, STEP), len(own))
os.environ["ROS_DOMAIN_ID"] = str(DOMAINS[0])
os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

rclpy = pytest.importorskip("rclpy", reason="ROS 2 is not installed: pip install '.[ros]'")

from rclpy.executors import SingleThreadedExecutor  # noqa: E402
from rclpy.lifecycle import LifecycleState  # noqa: E402
from rclpy.node import Node  # noqa: E402

from robot_learning import paths  # noqa: E402
from robot_learning.nodes.base import RobotNode  # noqa: E402
from robot_learning.nodes.shared_memory import remove_abandoned  # noqa: E402

PATIENCE = 60.0  # longest wait for anything on a busy machine [s]
ANSWER = 15.0  # of a service; afterwards the request is sent again [s]
DESCRIPTORS = 8192


@pytest.fixture(scope="session", autouse=True)
def _descriptors() -> None:
    """Fast DDS keeps some 15 descriptors of a left domain until the process ends: more than 1024, the usual limit, in all."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(DESCRIPTORS, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


@pytest.fixture(scope="module", autouse=True)
def _shared_memory() -> Iterator[None]:
    """What killed nodes left in shared memory is removed: 35 MB each, which the machine would be short of in the end."""
    remove_abandoned()
    yield
    remove_abandoned()


@pytest.fixture(scope="session", autouse=True)
def _profiles() -> None:
    """Fast DDS reads its profile once a process, here that of the tests; processes that are started get the package's."""
    os.environ["FASTDDS_DEFAULT_PROFILES_FILE"] = str(Path(__file__).parent / "udp.xml")
    context = rclpy.Context()
    context.init()
    Node("first", context=context).destroy_node()
    context.try_shutdown()
    os.environ["FASTDDS_DEFAULT_PROFILES_FILE"] = str(paths.config("fastdds.xml"))


def is_free(domain: int) -> bool:
    """Whether no process of this machine is in a domain: other graphs, and other runs of the tests, have theirs."""
    first_participant = 7400 + 250 * domain + 10  # its port, by the standard of RTPS
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(("", first_participant))
        except OSError:
            return False
    return True


def forget_nodes() -> None:
    """Let nodes of this process go, with the participants that they hold.

    An active node has told the collector to leave alone what was there then (`RobotNode.on_activate`), itself too. Fast DDS
    numbers the participants of a process through all domains, and the first few only find each other.
    """
    gc.unfreeze()
    gc.collect()


class Graph:
    """The test's own corner of the graph: nodes of this process in one executor, and processes beside it."""

    def __init__(self, folder: Path) -> None:
        forget_nodes()
        self.folder = folder
        DOMAINS.append(DOMAINS.pop(0))
        while not is_free(DOMAINS[0]):
            DOMAINS.append(DOMAINS.pop(0))
        self.domain = os.environ["ROS_DOMAIN_ID"] = str(DOMAINS[0])  # also for processes that a test starts by itself
        self.context = rclpy.Context()
        self.context.init()
        self.executor = SingleThreadedExecutor(context=self.context)
        self.nodes: list[Node] = []
        self.processes: list[subprocess.Popen[bytes]] = []

    def node(self, name: str = "test", **options: object) -> Node:
        """A plain node of this process."""
        return self.add(Node(name, context=self.context, **options))

    def add(self, node: Node) -> Node:
        """Let the executor spin a node (make it with `context=graph.context`)."""
        self.nodes.append(node)
        self.executor.add_node(node)
        return node

    def environment(self) -> dict[str, str]:
        """That of processes which belong to this corner, whatever other corners there are meanwhile."""
        return {**os.environ, "ROS_DOMAIN_ID": self.domain}

    def start(self, module: str, *arguments: str, **parameters: object) -> subprocess.Popen[bytes]:
        """A node of the package as a process: `python -m robot_learning.nodes.<module>` with these ROS parameters."""
        command = ["-m", f"robot_learning.nodes.{module}", "--ros-args", *arguments]
        for name, value in parameters.items():
            command += ["-p", f"{name}:={_yaml(value)}"]
        return self.launch(module, command)

    def peer(self, *arguments: str, namespace: str = "/") -> subprocess.Popen[bytes]:
        """A process of tests/nodes/gate_peer.py."""
        ros = [] if namespace == "/" else ["--ros-args", "-r", f"__ns:={namespace}"]
        return self.launch(f"peer_{arguments[0]}", [str(Path(__file__).parent / "gate_peer.py"), *arguments, *ros])

    def launch(self, name: str, arguments: list[str]) -> subprocess.Popen[bytes]:
        """`python <arguments>` in this corner; its output is in `<name>_<number>.log`."""
        command = [sys.executable, *arguments]
        log = (self.folder / f"{name}_{len(self.processes)}.log").open("wb")
        process = subprocess.Popen(
            command, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=self.environment()
        )
        process.log = Path(log.name)  # type: ignore[attr-defined]
        self.processes.append(process)
        return process

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """Kill a process of this corner (SIGKILL)."""
        process.kill()
        process.wait()

    def stop(self, *processes: subprocess.Popen[bytes]) -> None:
        """Interrupt processes and wait for their end; what does not end by itself is killed.

        Where others go on, do so with what a test has started: a killed process may leave them waiting for ever.
        """
        for process in processes:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
        for process in processes:
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self.kill(process)

    def until(self, condition: Callable[[], object], what: str = "the condition", timeout: float = PATIENCE) -> None:
        """Spin until `condition()` is true; fails with `what` and the processes' logs when it never is."""
        deadline = time.monotonic() + timeout
        while not condition():
            if time.monotonic() > deadline:
                pytest.fail(f"waited {timeout:.0f} s for {what}\n{self.logs()}")
            self.executor.spin_once(timeout_sec=0.02)

    def spin(self, seconds: float) -> None:
        """Let the graph run on for so long: to see that something does NOT happen."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.executor.spin_once(timeout_sec=0.02)

    def call(self, kind: type, service: str, request: object | None = None) -> object:
        """Call a service and return its response.

        A killed server stays in the graph until its lease ends, and what is sent meanwhile may reach only the dead one, though
        another has taken its place: so a request without an answer is sent again.
        """
        client = self.nodes[0].create_client(kind, service)
        self.until(client.service_is_ready, f"service {service}")
        message = request if request is not None else kind.Request()  # type: ignore[attr-defined]
        for _ in range(int(PATIENCE / ANSWER)):
            future = client.call_async(message)
            deadline = time.monotonic() + ANSWER
            while not future.done() and time.monotonic() < deadline:
                self.executor.spin_once(timeout_sec=0.02)
            if future.done():
                self.nodes[0].destroy_client(client)
                return future.result()
        pytest.fail(f"waited {PATIENCE:.0f} s for the answer of {service}\n{self.logs()}")

    def logs(self) -> str:
        """What the processes have printed so far."""
        return "\n".join(f"--- {p.log.name}:\n{p.log.read_text(errors='replace')[-4000:]}" for p in self.processes)  # type: ignore[attr-defined]

    def close(self) -> None:
        """Stop every process and node."""
        self.stop(*self.processes)
        self.executor.shutdown()
        for node in self.nodes:
            if isinstance(node, RobotNode):
                node.on_shutdown(LifecycleState("active" if node.is_active else "inactive", 0))  # its threads hold it
            node.destroy_node()
        self.nodes.clear()
        self.context.try_shutdown()


def _yaml(value: object) -> str:
    import json

    return value if isinstance(value, str) and value else json.dumps(value)


@contextmanager
def corner(folder: Path) -> Iterator[Graph]:
    """A corner of the graph that is cleaned up afterwards."""
    graph = Graph(folder)
    try:
        yield graph
    finally:
        graph.close()


@pytest.fixture
def graph(tmp_path: Path) -> Iterator[Graph]:
    """A corner of the graph for one test."""
    with corner(tmp_path) as graph:
        yield graph


@pytest.fixture(scope="class")
def class_graph(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Graph]:
    """A corner of the graph for all tests of a class."""
    with corner(tmp_path_factory.mktemp("graph")) as graph:
        yield graph


@pytest.fixture(scope="module")
def shared_graph(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Graph]:
    """A corner of the graph for all tests of a module, where processes take long to start."""
    with corner(tmp_path_factory.mktemp("graph")) as graph:
        yield graph
