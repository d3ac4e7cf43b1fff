"""New weights for a policy node that is running: a parcel on the topic `~/weights`, unpacked and tried beside the executor."""

from __future__ import annotations

import hashlib
import os
import queue
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from std_msgs.msg import UInt8MultiArray

from robot_learning.contract import Contract
from robot_learning.errors import UserError
from robot_learning.nodes.base import RobotNode, latched
from robot_learning.policies import CheckpointError, ChunkPolicy, Policy, build_policy
from robot_learning.policies.parcel import MOST_BYTES, unpack, version_of

JOINING = 3.0  # weights that come so soon after the node has joined the graph were sent before it did [s, wall]
NICENESS = 10  # of the thread that unpacks


@dataclass(frozen=True)
class Arrival:
    """What came of a parcel: the `policy` in it, or why it is refused; `version` is empty where it does not say."""

    version: str = ""
    policy: Policy | None = None
    refused: str = ""


def warm_up(policy: Policy, times: int = 2) -> np.ndarray:
    """The first forward passes are slow, let nobody wait for them; what comes of an observation of zeros."""
    zeros = {key: np.zeros(stream.shape, stream.dtype) for key, stream in policy.contract.observation.items()}
    for _ in range(times):
        if isinstance(policy, ChunkPolicy):
            output = policy.plan(zeros, policy.tasks[0])
        else:
            policy.reset()
            output = policy.predict(zeros, policy.tasks[0])
    return output


def open_parcel(parcel: bytes, robot: Contract, running: Policy) -> Arrival:
    """The policy in a parcel, tried once.

    Raises:
        CheckpointError: it is broken, or cannot take the place of the `running` policy: it reads other streams, lacks a task.
        ContractError: it was made for another robot.
    """
    checkpoint = unpack(parcel, "weights")
    policy = build_policy(checkpoint, "weights", robot)
    mine, theirs = sorted(running.contract.observation), sorted(policy.contract.observation)
    if mine != theirs:
        raise CheckpointError(f"weights: expected a policy that reads {mine}, as the running one, found {theirs}")
    lacking = [task for task in running.tasks if task not in policy.tasks]
    if lacking:
        raise CheckpointError(f"weights: expected a policy of {running.tasks}, found one that does not know {lacking}")
    if not np.isfinite(warm_up(policy)).all():
        raise CheckpointError("weights: what comes of them is not finite")
    return Arrival(version_of(checkpoint), policy)


class NewWeights:
    """Takes parcels from `~/weights` and holds the newest good policy until it is taken up.

    Args:
        node: the policy node, with its contract; running: its policy.
        arrived: called in the executor's thread when a parcel has been looked at.

    Attributes:
        waiting: version of the policy that waits, None if none does.
        refused: what is wrong with the newest parcel, else empty.
    """

    def __init__(self, node: RobotNode[Any], running: Policy, arrived: Callable[[], None]) -> None:
        self._node, self._running, self._arrived = node, running, arrived
        self.waiting: str | None = None
        self.refused = ""
        self._policy: Policy | None = None
        self._digest = b""
        self._joined = time.monotonic()
        self._parcels: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="weights", daemon=True)
        self._thread.start()
        self._subscription = node.create_subscription(UInt8MultiArray, "~/weights", self._on_message, latched())

    @property
    def is_joining(self) -> bool:
        """Whether what comes now was there before this node: a policy that was started again goes on with it at once."""
        return time.monotonic() - self._joined < JOINING

    def take(self) -> tuple[Policy, str] | None:
        """The policy that waits, once, and its version."""
        if self._policy is None or self.waiting is None:
            return None
        taken = self._policy, self.waiting
        self._policy, self.waiting = None, None
        return taken

    def close(self) -> None:
        """Leave the graph, and end the thread after the parcel in its hands."""
        self._node.destroy_subscription(self._subscription)
        self._parcels.put(None)
        self._thread.join()

    def _on_message(self, message: UInt8MultiArray) -> None:
        if len(message.data) > 2 * MOST_BYTES:
            self._on_arrival(
                Arrival(refused=f"weights: expected at most {MOST_BYTES} bytes, found {len(message.data)}")
            )
            return
        self._parcels.put(bytes(message.data))

    # --- in a thread of its own ------------------------------------------------------------------------------------------

    def _run(self) -> None:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)  # the control loop goes before it
        while (parcel := self._parcels.get()) is not None:
            while not self._parcels.empty():  # only the newest counts
                newer = self._parcels.get()
                if newer is None:
                    return
                parcel = newer
            digest = hashlib.sha256(parcel).digest()
            if digest == self._digest:
                continue  # a learner that was started again repeats itself
            arrival = self._opened(parcel)
            self._digest = digest
            if self._node.executor is not None:
                self._node.executor.create_task(self._on_arrival, arrival)

    def _opened(self, parcel: bytes) -> Arrival:
        try:
            return open_parcel(parcel, self._node.contract, self._running)
        except UserError as error:
            return Arrival(refused=str(error))
        except Exception as error:  # whatever a stranger's bytes lead to: the old policy goes on
            self._node.get_logger().error(traceback.format_exc())
            return Arrival(refused=f"weights: an unexpected error: {error}")

    # --- back in the executor's ------------------------------------------------------------------------------------------

    def _on_arrival(self, arrival: Arrival) -> None:
        self.refused = f"new weights are refused, the old ones go on: {arrival.refused}" if arrival.refused else ""
        if arrival.policy is not None:
            self._policy, self.waiting = arrival.policy, arrival.version
        self._arrived()
