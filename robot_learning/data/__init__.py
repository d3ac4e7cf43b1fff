"""Datasets: recording, reading and looking after episodes in the LeRobot v3 format (docs/dataset.md)."""

from robot_learning.data.dataset import Dataset
from robot_learning.data.episode import Episode, Segment
from robot_learning.data.files import (
    DamagedDatasetError,
    DatasetError,
    DatasetLockedError,
    DatasetWriteError,
    FrameError,
)
from robot_learning.data.schema import Feature
from robot_learning.data.statistics import Statistics
from robot_learning.data.video import VideoConfig
from robot_learning.data.writer import DatasetWriter

__all__ = [
    "DamagedDatasetError",
    "Dataset",
    "DatasetError",
    "DatasetLockedError",
    "DatasetWriteError",
    "DatasetWriter",
    "Episode",
    "Feature",
    "FrameError",
    "Segment",
    "Statistics",
    "VideoConfig",
]
