"""Reward models: pictures and a yes/no question in, the probability of "yes" out (docs/rewards.md)."""

from robot_learning.rewards.augmentation import AugmentationConfig
from robot_learning.rewards.checkpoint import load_reward, save_reward
from robot_learning.rewards.embedded import Calibration, EmbeddedConfig, EmbeddedReward
from robot_learning.rewards.metrics import Quality, quality
from robot_learning.rewards.model import Images, PictureError, RewardModel
from robot_learning.rewards.prompted import Asker, PromptedReward
from robot_learning.rewards.prompted_checkpoint import RewardCheckpointError
from robot_learning.rewards.questions import Question, QuestionBook, QuestionError, load_questions
from robot_learning.rewards.training import HeadTraining, LabelError, LabelledMaps, train_heads

__all__ = [
    "Asker",
    "AugmentationConfig",
    "Calibration",
    "EmbeddedConfig",
    "EmbeddedReward",
    "HeadTraining",
    "Images",
    "LabelError",
    "LabelledMaps",
    "PictureError",
    "PromptedReward",
    "Quality",
    "Question",
    "QuestionBook",
    "QuestionError",
    "RewardCheckpointError",
    "RewardModel",
    "load_questions",
    "load_reward",
    "quality",
    "save_reward",
    "train_heads",
]
