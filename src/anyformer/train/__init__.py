"""The training loop, its checkpoints, and models fitted to tasks, saved and used."""

from anyformer.train.bundle import Bundle, Predictions, load_bundle, save_bundle
from anyformer.train.fit import Fit
from anyformer.train.models import model_for
from anyformer.train.trainer import Diverged, TrainConfig, Trainer

__all__ = [
    "Bundle",
    "Diverged",
    "Fit",
    "Predictions",
    "TrainConfig",
    "Trainer",
    "load_bundle",
    "model_for",
    "save_bundle",
]
