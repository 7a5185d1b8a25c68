"""The training loop, its checkpoints, and models fitted to tasks."""

from anyformer.train.models import model_for
from anyformer.train.trainer import Diverged, Score, TrainConfig, Trainer

__all__ = ["Diverged", "Score", "TrainConfig", "Trainer", "model_for"]
