"""Emergent mixture of experts: an MLP whose hidden units are routed in groups, without a parameter more."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from anyformer.channels import register_channel
from anyformer.channels.mlp import MLP
from anyformer.contract import Inputs
from anyformer.layers.linear import call_roomy
from anyformer.ops._precision import roomy


@register_channel("emoe", papers=["emoe"], examples=[{}, {"num_experts": 8, "top_k": 8}, {"top_k": 1}])
class EmergentExperts(MLP):
    """An MLP of which each token uses the k groups of hidden units whose mean key is nearest (Qiu 2024, section 3.2).

    The keys of a group, rows of the first matrix, are neighbours. A group's score is the product of x with the mean of
    its keys; the k best are summed with weight one. Groups that are left out are computed and masked.

    Args:
        num_experts: groups E, of equal size.
        top_k: groups that a token uses; with all of them it is the MLP.
        hidden_dim, factor, activation, bias: as for ``mlp``.
    """

    def __init__(
        self,
        dim: int,
        *,
        num_experts: int = 8,
        top_k: int = 4,
        hidden_dim: int | None = None,
        factor: float = 4,
        activation: str | dict[str, Any] = "gelu",
        bias: bool = True,
        causal: bool = True,
    ) -> None:
        super().__init__(dim, hidden_dim=hidden_dim, factor=factor, activation=activation, bias=bias)
        if not 1 <= top_k <= num_experts:
            raise ValueError(f"top_k must be between 1 and num_experts={num_experts}, got {top_k}")
        if self.up.out_features % num_experts:
            raise ValueError(
                f"num_experts must divide the {self.up.out_features} hidden units, got {num_experts}"
            )
        self.num_experts, self.top_k = num_experts, top_k

    def chosen(self, x: Tensor) -> Tensor:
        """(B, T, E) of zeros and ones: the groups that each token uses."""
        keys = self.up.weight.detach().unflatten(0, (self.num_experts, -1)).mean(1)
        scores = x.detach() @ keys.to(x.dtype).mT
        return torch.zeros_like(scores).scatter(-1, scores.topk(self.top_k, -1).indices, 1.0)

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        up = self.up(x)
        hidden = self.activation(roomy(up)).unflatten(-1, (self.num_experts, -1))
        hidden = (hidden * self.chosen(x)[..., None]).flatten(-2)
        return call_roomy(self.down, hidden, up.dtype).to(up.dtype)
