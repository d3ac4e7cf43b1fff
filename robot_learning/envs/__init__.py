"""Gymnasium environments over MuJoCo; importing this registers them.

`robot_learning/Playroom-v0` resets everything between episodes, `robot_learning/PlayroomResetFree-v0` only the arm.
"""

from gymnasium.envs.registration import register

from robot_learning.envs.tasks import TASKS, Task

MAX_EPISODE_STEPS = 150

register(
    "robot_learning/Playroom-v0", "robot_learning.envs.playroom_env:PlayroomEnv", max_episode_steps=MAX_EPISODE_STEPS
)
register(
    "robot_learning/PlayroomResetFree-v0",
    "robot_learning.envs.reset_free:ResetFreePlayroomEnv",
    max_episode_steps=MAX_EPISODE_STEPS,
)

__all__ = ["MAX_EPISODE_STEPS", "TASKS", "Task"]
