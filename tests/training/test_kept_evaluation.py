"""An evaluation that is kept: what is repeated, and what does not count."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from robot_learning.policies import Checkpoint
from robot_learning.training.kept_evaluation import KeptEvaluation
