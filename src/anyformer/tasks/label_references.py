"""Predictors of labels without a sequence model: their shares in training, and one model for each label."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from anyformer.tasks.base import Reference

if TYPE_CHECKING:
    from anyformer.tasks.base import Task
    from anyformer.tasks.batch import Batch


class LabelShares(Reference):
    """Predict the most frequent labels of the train split, whatever the input, in the order of their shares.

    Those are told, above 0.5, that score best in training: always telling the labels of shares s_1 > s_2 > ... up to
    the k-th has the micro F1 of 2 (s_1 + ... + s_k) / (k + the sum of all shares).
    """

    def __init__(self) -> None:
        super().__init__(
            "label frequencies", "always the most frequent labels, as many as score best in training"
        )

    def fit(self, task: Task) -> LabelShares:
        """Count the labels."""
        shares = task.train_sample(10**6).targets.double().mean(0).numpy()
        falling = -np.sort(-shares)
        count = int(np.argmax(falling.cumsum() / (np.arange(len(shares)) + 1 + shares.sum()))) + 1
        last = (falling[count - 1] + (falling[count] if count < len(shares) else 0)) / 2
        self.logits = log_odds(shares) - log_odds(np.array([last]))
        return self

    def predict(self, batch: Batch) -> Tensor:
        """Return logits ``(B, num_labels)``."""
        return self.logits.expand(len(batch), -1)


def one_for_each(model: Any, x: Any, y: np.ndarray) -> Any:
    """Fit a classifier of scikit-learn for each label ``(B, L)``, by itself."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.multiclass import OneVsRestClassifier

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.filterwarnings(
            "ignore", "Label .* is present in all training examples"
        )  # told by a constant
        return OneVsRestClassifier(model).fit(x, y.astype(int))


def probabilities(model: Any, x: Any, num_labels: int) -> np.ndarray:
    """Return the probability of each label ``(B, L)``."""
    found = np.asarray(model.predict_proba(x))
    return found[:, 1:] if num_labels == 1 and found.shape[1] == 2 else found


def log_odds(shares: np.ndarray) -> Tensor:
    """Return probabilities as logits, float32."""
    shares = np.clip(shares, 1e-6, 1 - 1e-6)
    return torch.from_numpy(np.log(shares / (1 - shares))).float()
