"""Call a service of a running node: `robot-learning call recorder/start` (also where there is no `ros2 service call`).

robot-learning call recorder/start | stop | pause | resume | discard | re_record
robot-learning call safety_gate/estop | reset_estop
robot-learning call policy/start | stop
robot-learning call sim_robot/reset | home
"""

from __future__ import annotations

from dataclasses import dataclass

import tyro

from robot_learning.commands.up import require_ros


@dataclass(frozen=True)
class Config:
    """Flags of `robot-learning call`."""

    service: tyro.conf.Positional[str]
    """The node and its service, such as `recorder/start`; of type std_srvs/srv/Trigger."""
    namespace: str = ""
    """The robot's namespace."""
    wait: float = 5.0
    """How long to wait for the service, and then for its answer [s]."""


def run(config: Config) -> int:
    """Print the answer. A service that is missing, silent or says no is an error (2)."""
    require_ros()
    from robot_learning.nodes.talking import call

    print(call(config.service, config.namespace, config.wait))
    return 0
