"""robot_learning: a robot that learns manipulation from a little human data and then improves by itself."""

from robot_learning import headless

__version__ = "0.1.0"

headless.prepare()
