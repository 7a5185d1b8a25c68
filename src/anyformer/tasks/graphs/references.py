"""Predictors without a sequence model for graphs and for nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from scipy import sparse
from torch import Tensor
from torch.nn.functional import one_hot

from anyformer.objectives import Classify, Regress
from anyformer.tasks.base import Reference
from anyformer.tasks.graphs.structure import ROUNDS, colours, mixed
from anyformer.tasks.references import BUCKETS, FittedReference, Majority, Median, counted, score_reference

if TYPE_CHECKING:
    from anyformer.tasks.base import Task
    from anyformer.tasks.batch import Batch

DEGREES = 16
"""Numbers of edges that are counted apart; more are counted as the last."""


class _OfGraphs(FittedReference):
    """A linear model, fitted on batches that hold only a part of the graphs at once."""

    def sampled(self, task: Task) -> tuple[Any, np.ndarray]:
        """Return the features and the targets of the training samples."""
        index = task.subset("train", self.samples)
        found = [
            (self.features(batch), batch.targets.numpy().reshape(len(batch), -1))
            for batch in task.eval_batches("train", 256, index=index)
        ]
        features, targets = [x for x, _ in found], np.concatenate([y for _, y in found])
        return sparse.vstack(features) if sparse.issparse(features[0]) else np.concatenate(features), targets


class GraphLinear(_OfGraphs):
    """Ridge or logistic regression on counts of fields, degrees and kinds of edges."""

    def __init__(self) -> None:
        super().__init__(
            "linear", "a linear model on counts of node fields, of degrees and of kinds of edges"
        )

    def features(self, batch: Batch) -> np.ndarray:
        """Return means of numbers, and ``log(1 + count)`` of categories, degrees and kinds: ``(B, features)``."""
        real, edges = _real(batch), batch.side["edges"].long()
        assert not isinstance(batch.inputs, Tensor)
        found = []
        for values in batch.inputs.values():
            if values.is_floating_point():
                found.append((values * real[..., None]).sum(1) / real.sum(1, keepdim=True))
            else:
                found.append(_counts(values, real, BUCKETS if values.max() >= 256 else 256))
        found.append(_counts((edges > 0).sum(-1).clamp_max(DEGREES), real, DEGREES + 1))
        kinds = edges.clamp_min(0).flatten(1)
        found.append(_counts(kinds, kinds > 0, 128))
        return torch.cat([part.double() for part in found], 1).numpy()


class WeisfeilerLehman(_OfGraphs):
    """Ridge or logistic regression on counts of the colours of nodes (Shervashidze et al. 2011: the subtree kernel)."""

    def __init__(self) -> None:
        super().__init__(
            "Weisfeiler-Lehman",
            f"a linear model on counts of neighbourhoods of up to {ROUNDS} edges, by categories and kinds of edges",
        )

    def features(self, batch: Batch) -> sparse.csr_matrix:
        """Return counts of colours, hashed: ``(B, BUCKETS)``."""
        real, edges = _real(batch).numpy(), batch.side["edges"].numpy()
        assert not isinstance(batch.inputs, Tensor)
        B, T = real.shape
        start = np.zeros(B * T, np.uint64)
        for place, values in enumerate(batch.inputs.values()):
            if not values.is_floating_point():
                start += mixed(values.numpy().astype(np.uint64).ravel() + np.uint64(place << 32))
        sample, origin, to = np.nonzero(edges > 0)
        pairs = pd.DataFrame({"from": sample * T + origin, "to": sample * T + to})
        kinds = edges[sample, origin, to].astype(np.uint64)
        row = np.repeat(np.arange(B), T)[real.ravel()]
        found = [colour[real.ravel()] % np.uint64(BUCKETS) for colour in colours(start, pairs, kinds)]
        bucket = np.concatenate(found).astype(np.int64)
        return counted(np.tile(row, len(found)), bucket, B)


class NodeLinear(_OfGraphs):
    """Ridge or logistic regression on the fields of a node and, by ``steps``, on their means around it."""

    def __init__(self, steps: int = 0) -> None:
        around = "" if not steps else f" and on their means over nodes up to {steps} edges away"
        super().__init__(
            "linear on neighbours" if steps else "linear", f"a linear model on the fields of a node{around}"
        )
        self.steps = steps

    def fit(self, task: Task) -> NodeLinear:
        """Take the numbers of categories from the task, and fit."""
        assert task.stream is not None
        self.sizes = {field.name: field.size for field in task.stream.fields}
        super().fit(task)
        return self

    def features(self, batch: Batch) -> np.ndarray:
        """Return numbers and categories, these as zeros and ones: ``(N, features)``."""
        assert not isinstance(batch.inputs, Tensor) and batch.elements is not None
        real = _real(batch)[..., None]
        own = [
            values if (size := self.sizes[name]) is None else one_hot(values, size)
            for name, values in batch.inputs.items()
        ]
        x = torch.cat([part.float() for part in own], -1) * real
        near = (batch.side["edges"] > 0).float()
        near = near / near.sum(-1, keepdim=True).clamp_min(1)
        found = [x]
        for _ in range(self.steps):
            found.append(near @ found[-1])
        return torch.cat(found, -1)[batch.elements[:, 0], batch.elements[:, 1]].double().numpy()


class LabelPropagation(Reference):
    """Answers that spread along edges from the training nodes of one graph (Zhou et al. 2004).

    F <- alpha S F + (1 - alpha) Y with S = D^-1/2 A D^-1/2, alpha by validation; Y are the training nodes' answers.
    """

    alphas = (0.5, 0.9, 0.99)
    rounds = 50

    def __init__(self) -> None:
        super().__init__(
            "label propagation", "what the training nodes around a node have, spread along edges"
        )

    def fit(self, task: Task) -> LabelPropagation:
        """Spread the answers of the training nodes."""
        batch, objective = next(iter(task.eval_batches("train", 1))), task.objective
        assert batch.elements is not None
        edges = sparse.csr_matrix((batch.side["edges"][0] > 0).numpy())
        root = 1 / np.sqrt(np.maximum(np.asarray(edges.sum(1)).ravel(), 1))
        step = sparse.diags(root) @ edges @ sparse.diags(root)
        classes = objective.num_classes if isinstance(objective, Classify) else 0
        told = one_hot(batch.targets, classes).double() if classes else batch.targets.double().nan_to_num()
        known = np.ones((len(told), 1))
        y = np.zeros((edges.shape[0], told.shape[1] + 1))
        y[batch.elements[:, 1].numpy()] = np.concatenate([told.numpy(), known], 1)
        fitted = []
        for alpha in self.alphas:
            spread = y
            for _ in range(self.rounds):
                spread = alpha * (step @ spread) + (1 - alpha) * y
            self.answers = self._answers(spread, y, bool(classes))
            score = task.metric.info.sign * score_reference(self, task, "valid")
            fitted.append((-np.inf if np.isnan(score) else score, self.answers))
        self.answers = max(fitted, key=lambda pair: pair[0])[1]
        return self

    def _answers(self, spread: np.ndarray, y: np.ndarray, classes: bool) -> Tensor:
        """Return logits or numbers of all nodes; where nothing arrives, those of the training nodes together."""
        prior = y.sum(0) / y[:, -1].sum()
        mixture = spread + 1e-6 * prior
        shares = mixture[:, :-1] / mixture[:, -1:]
        return torch.from_numpy(np.log(shares + 1e-9) if classes else shares).float()

    def predict(self, batch: Batch) -> Tensor:
        """Return logits or values ``(N, num_outputs)``."""
        assert batch.elements is not None
        return self.answers[batch.elements[:, 1]]


def _real(batch: Batch) -> Tensor:
    """True at the nodes of a batch, ``(B, T)``."""
    edges = batch.side["edges"]
    return torch.ones(edges.shape[:2], dtype=torch.bool) if batch.mask is None else batch.mask


def _counts(codes: Tensor, real: Tensor, size: int) -> Tensor:
    """Return ``log(1 + count)`` of codes ``(B, T)`` modulo ``size``, where ``real``: ``(B, size)``."""
    found = torch.zeros(len(codes), size, dtype=torch.float64)
    found.scatter_add_(1, codes % size, real.double())
    return found.log1p()


def _constant(task: Task) -> Reference:
    return Median() if isinstance(task.objective, Regress) else Majority()


def references_of_graphs(task: Task) -> list[Reference]:
    """Return the predictors for one class, or numbers, of each graph."""
    return [_constant(task), GraphLinear(), WeisfeilerLehman()]


def references_of_nodes(task: Task) -> list[Reference]:
    """Return the predictors for nodes; what training nodes tell of their neighbours is known in one graph only."""
    found = [_constant(task), NodeLinear(), NodeLinear(steps=2)]
    return [*found, *([LabelPropagation()] if task.batch_size == 1 else [])]
