"""Conversion of trained MLPs to experts made of their hidden units, and back."""

from __future__ import annotations

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from anyformer.channels.emoe import EmergentExperts
from anyformer.channels.mlp import MLP
from anyformer.models import SequenceModel


@torch.no_grad()
def split_experts(model: SequenceModel, num_experts: int, top_k: int, *, seed: int = 0) -> SequenceModel:
    """Return a copy whose ``mlp`` channel mixers are ``emoe`` with the same weights (Qiu 2024, section 3.2).

    The hidden units of an MLP with similar keys (rows of its first matrix) become one expert, by balanced k-means.
    With ``top_k = num_experts`` the outputs stay the same.

    Args:
        model: a model with the channel mixer ``mlp``.
        num_experts: experts of each channel mixer; a divisor of its hidden units.
        top_k: experts that a token uses.
        seed: of the first centres of k-means.

    Raises:
        ValueError: if the channel mixer is not ``mlp``, or ``num_experts`` does not divide its hidden units.
    """
    new = _renamed(model, "mlp", "emoe", {"num_experts": num_experts, "top_k": top_k})
    for module in new.modules():
        if isinstance(module, EmergentExperts):
            order = balanced_clusters(module.up.weight, num_experts, seed).argsort(stable=True)
            module.up.weight.copy_(module.up.weight[order])
            module.down.weight.copy_(module.down.weight[:, order])
            if module.up.bias is not None:
                module.up.bias.copy_(module.up.bias[order])
    return new


def merge_experts(model: SequenceModel) -> SequenceModel:
    """Return the dense model whose ``mlp`` channel mixers have the weights of the ``emoe`` of ``model``.

    Raises:
        ValueError: if the channel mixer of ``model`` is not ``emoe``.
    """
    return _renamed(model, "emoe", "mlp", {})


def balanced_clusters(points: Tensor, num_clusters: int, seed: int = 0, rounds: int = 20) -> Tensor:
    """Cluster points (N, D) into clusters of equal size, by k-means with optimal assignment; returns (N,) int64.

    Raises:
        ValueError: if ``num_clusters`` does not divide N.
    """
    N = len(points)
    if num_clusters < 1 or N % num_clusters:
        raise ValueError(f"num_clusters must divide the {N} points, got {num_clusters}")
    points = points.detach().double()
    size = N // num_clusters
    first = torch.randperm(N, generator=torch.Generator().manual_seed(seed))[:num_clusters]
    centres = points[first]
    labels = torch.full((N,), -1)
    for _ in range(rounds):
        cost = torch.cdist(points, centres).square().repeat_interleave(size, 1)
        _, slot = linear_sum_assignment(cost.numpy())
        found = torch.as_tensor(slot) // size
        if torch.equal(found, labels):
            break
        labels = found
        centres = torch.stack([points[labels == c].mean(0) for c in range(num_clusters)])
    return labels


_KEPT = ("hidden_dim", "factor", "activation", "bias")
"""Options that ``mlp`` and ``emoe`` share."""


def _renamed(model: SequenceModel, old: str, new: str, options: dict[str, int]) -> SequenceModel:
    """Return a copy with the channel mixer ``new`` and further options in the place of ``old``."""
    channel = model.spec.channel
    if channel is None or channel.name != old:
        raise ValueError(f"model must have the channel mixer {old!r}, got {channel and channel.name!r}")
    kept = {k: v for k, v in channel.options.items() if k in _KEPT}
    if old == "mlp" and set(channel.options) - set(kept):
        raise ValueError(f"model must have an mlp with no options but {', '.join(_KEPT)}, got {channel}")
    fields = {**model.spec.model_dump(), "channel": {"name": new, "options": {**kept, **options}}}
    other = SequenceModel(fields, model.vocab_size, model.num_features, model.num_outputs, model.pool)
    other.to(next(model.parameters()).dtype).load_state_dict(model.state_dict())
    assert any(isinstance(module, MLP) for module in other.modules())
    return other.train(model.training)
