"""Emergent mixture of experts: an MLP with its hidden units routed in groups, without more parameters."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from anyformer.channels import register_channel
from anyformer.channels.mlp import MLP
from anyformer.contract import Inputs
from anyformer.layers.linear import call_roomy
from anyformer.precision import roomy


@register_channel("emoe", examples=[{}, {"num_experts": 8, "top_k": 8}, {"top_k": 1}])
class EmergentExperts(MLP):
    """An MLP in which each token uses the ``top_k`` best groups of hidden units (Qiu 2024, section 3.2).

    A group is adjacent rows of the first matrix, its keys; its score is the product of x with the mean of the keys.
    Selected groups are summed with weight one; the others are computed and masked.

    Args:
        num_experts: groups E, of equal size.
        top_k: groups that a token uses; all of them give the MLP.
        hidden_dim, factor, activation, bias: as for ``mlp``.
    """

    class Options(MLP.Options, without=("input_activation", "groups", "preserve_variance")):
        num_experts: int = 8
        top_k: int = 4

    options: Options

    def __init__(self, dim: int, **options: Any) -> None:
        super().__init__(dim, **options)
        self.num_experts, self.top_k = E, k = self.options.num_experts, self.options.top_k
        if not 1 <= k <= E:
            raise ValueError(f"top_k must be between 1 and num_experts={E}, got {k}")
        if self.up.out_features % E:
            raise ValueError(f"num_experts must divide the {self.up.out_features} hidden units, got {E}")

    def chosen(self, x: Tensor) -> Tensor:
        """Return the groups that each token uses, (B, T, E) of zeros and ones."""
        keys = self.up.weight.detach().unflatten(0, (self.num_experts, -1)).mean(1)
        scores = x.detach() @ keys.to(x.dtype).mT
        return torch.zeros_like(scores).scatter(-1, scores.topk(self.top_k, -1).indices, 1.0)

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        up = self.up(x)
        hidden = self.activation(roomy(up)).unflatten(-1, (self.num_experts, -1))
        hidden = (hidden * self.chosen(x)[..., None]).flatten(-2)
        return call_roomy(self.down, hidden, up.dtype).to(up.dtype)
