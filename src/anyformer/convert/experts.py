"""Trained MLPs as experts that emerge from their hidden units, and back."""

from __future__ import annotations

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from anyformer.channels.emoe import EmergentExperts
from anyformer.channels.mlp import MLP
from anyformer.models import SequenceModel


@torch.no_grad()
def split_experts(model: SequenceModel, num_experts: int, top_k: int, *, seed: int = 0) -> SequenceModel:
    """A model whose ``mlp`` channel mixers are ``emoe`` with the same weights (Qiu 2024, section 3.2).

    The hidden units of each are put in an order in which neighbours have similar keys, by balanced k-means. With
    ``top_k = num_experts`` the outputs stay the same.

    Raises:
        ValueError: for a model whose channel mixer is not ``mlp``, or has hidden units that do not divide.
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
    """The dense model that ``emoe`` channel mixers are made of, with their weights."""
    return _renamed(model, "emoe", "mlp", {})


def balanced_clusters(points: Tensor, num_clusters: int, seed: int = 0, rounds: int = 20) -> Tensor:
    """(N,) int64: a cluster for each of the points (N, D), as many in each: k-means with optimal assignment.

    Raises:
        ValueError: where the clusters cannot be of equal size.
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
        _, place = linear_sum_assignment(cost.numpy())
        found = torch.as_tensor(place) // size
        if torch.equal(found, labels):
            break
        labels = found
        centres = torch.stack([points[labels == c].mean(0) for c in range(num_clusters)])
    return labels


def _renamed(model: SequenceModel, old: str, new: str, options: dict[str, int]) -> SequenceModel:
    channel = model.spec.channel
    if channel is None or channel.name != old:
        raise ValueError(f"model must have the channel mixer {old!r}, got {channel and channel.name!r}")
    kept = {k: v for k, v in channel.options.items() if k in ("hidden_dim", "factor", "activation", "bias")}
    if old == "mlp" and set(channel.options) - set(kept):
        raise ValueError(f"model must have an mlp of one activation, got {channel}")
    fields = {**model.spec.model_dump(), "channel": {"name": new, "options": {**kept, **options}}}
    other = SequenceModel(fields, model.vocab_size, model.num_features, model.num_outputs, model.pool)
    other.to(next(model.parameters()).dtype).load_state_dict(model.state_dict())
    assert any(isinstance(module, MLP) for module in other.modules())
    return other.train(model.training)
