"""Counts of items that occur in the same samples, as fixed tables that are looked up on any device."""

from __future__ import annotations

import numpy as np
import torch
from scipy import sparse
from torch import Tensor, nn
from torch.nn import functional

from anyformer.precision import no_autocast


class Cooccurrence(nn.Module):
    """The likeness of each item to those before, by the samples that hold both, and whether it is among them.

    s_j = sum over the items x_i before of fading^(age of i) c(x_i, j), with the cosine c(i, j) = C_ij / sqrt(n_i n_j)
    of the numbers C_ij of samples with both and n_i of those with i (Deshpande and Karypis 2004, section 4.1.1), and
    c(i, i) = 0.

    Args:
        items: number of items V.
        fading: factor for each item behind.
    """

    pairs: Tensor
    samples: Tensor

    def __init__(self, items: int, fading: float) -> None:
        super().__init__()
        self.items, self.fading = items, fading
        self.register_buffer("pairs", torch.zeros(items + 1, items, dtype=torch.int32))
        """C, behind a row of zeros, which stands for none ``(V + 1, V)``."""
        self.register_buffer("samples", torch.zeros(items, dtype=torch.int32))
        """n ``(V,)``."""

    @torch.no_grad()
    def fit(self, held: Tensor) -> None:
        """Count the items of samples ``(B, T)``, numbered from 1, each once a sample; 0 stands for none."""
        row, place = (held > 0).nonzero(as_tuple=True)
        column = held[row, place] - 1
        shape = (len(held), self.items)
        found = sparse.csr_matrix(
            (np.ones(len(row), np.float32), (row.cpu().numpy(), column.cpu().numpy())), shape=shape
        )
        found.sum_duplicates()
        found.data[:] = 1
        both = torch.from_numpy((found.T @ found).toarray()).to(self.pairs)
        self.samples.copy_(both.diagonal())
        self.pairs[1:] = both.fill_diagonal_(0)

    @torch.no_grad()
    def forward(self, before: Tensor, sample: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return s and 1 at the items before, both float32 ``(..., V)``.

        Args:
            before: ``(..., W)`` int64, the last items, the newest last, numbered from 1; 0 where there is none.
            sample: ``(..., K)`` int64, all items of a sample that was counted, so numbered: it is left out of C and n.
        """
        shape = before.shape[:-1]
        before = before.reshape(-1, before.shape[-1])
        with no_autocast(before):
            age = torch.arange(before.shape[1] - 1, -1, -1, device=before.device)
            weight = torch.where(before > 0, torch.tensor(self.fading, device=before.device) ** age, 0)
            there = self._places(before, torch.ones_like(weight)) > 0
            counted = self.samples.float()
            mine = 0.0 if sample is None else 1.0
            of_before = (counted[(before - 1).clamp_min(0)] - mine).clamp_min(1).rsqrt() * weight
            score = functional.embedding_bag(
                before, self.pairs.float(), per_sample_weights=of_before, mode="sum", padding_idx=0
            )
            if sample is not None:
                own = self._places(sample.reshape(-1, sample.shape[-1]), None) > 0
                others = of_before.sum(1, keepdim=True) - self._places(before, of_before)
                score = torch.where(own, score - others, score).clamp_min(0)
                counted = counted - own.float()
            score = score * counted.clamp_min(1).rsqrt()
        return score.view(*shape, self.items), there.float().view(*shape, self.items)

    def _places(self, numbers: Tensor, weights: Tensor | None) -> Tensor:
        """Return the sum of weights ``(N, W)``, by default ones, at each item ``(N, V)`` of numbers ``(N, W)``."""
        found = torch.zeros(len(numbers), self.items + 1, device=numbers.device)
        return found.scatter_add_(
            1, numbers, torch.ones_like(numbers, dtype=found.dtype) if weights is None else weights
        )[:, 1:]
