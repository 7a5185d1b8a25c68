"""What metrics of one class a sequence share."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from anyformer.questions import Question, Target


def refuses_all_but_labels(question: Question) -> str | None:
    """Why a question is none for one class a sequence."""
    if question.kind == "class" and question.place == "whole":
        return None
    asked = "numbers" if question.kind == "number" else "a class at each place"
    return f"measures one class a sequence, not {asked}"


def labels(outputs: Tensor, target: Target) -> Tensor:
    """The true and the likeliest class of each sequence, ``(B, 2)``."""
    return torch.stack([target.values, outputs.argmax(-1)], 1)


def confusion(items: np.ndarray) -> np.ndarray:
    """How often a class (rows) was told as another (columns), ``(C, C)``, up to the highest class among them.

    Args:
        items: ``(N, 2)``, of :func:`labels`.
    """
    true, told = items.T.astype(np.int64)
    size = int(items.max(initial=0)) + 1
    found: np.ndarray = np.bincount(true * size + told, minlength=size * size).reshape(size, size)
    return found


def even_weights(classes: np.ndarray) -> np.ndarray:
    """Weights ``(N,)`` of samples where each class counts alike, however many samples it has.

    They sum to so many samples as would tell as much if all counted alike: (sum w)^2 / sum w^2 (Kish 1965).
    """
    _, codes, counts = np.unique(classes, return_inverse=True, return_counts=True)
    weights = 1 / counts[codes.ravel()]
    found: np.ndarray = weights * weights.sum() / np.square(weights).sum()
    return found
