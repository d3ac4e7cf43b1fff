"""The scripted demonstrator: people's ways with the 18 tasks, and play that chains them."""

from robot_learning.envs.demonstrator.demonstrator import Demonstrator, DemonstratorConfig
from robot_learning.envs.demonstrator.play import PlayConfig, Player
from robot_learning.envs.demonstrator.scripts import SCRIPTS, WAYS, possible

__all__ = ["SCRIPTS", "WAYS", "Demonstrator", "DemonstratorConfig", "PlayConfig", "Player", "possible"]
