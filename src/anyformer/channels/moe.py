"""A mixture of experts."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot, silu

from anyformer.channels import register_channel
from anyformer.channels._width import hidden_width
from anyformer.contract import Inputs, Mixer, MixerInfo
from anyformer.layers.linear import Linear
from anyformer.precision import widen


@register_channel("moe", examples=[{}, {"num_experts": 3, "top_k": 1}])
class MixtureOfExperts(Mixer):
    """SwiGLU experts, of which each token uses ``top_k``, weighted by a softmax over them (Shazeer 2017, eq. 2-5).

    No token is dropped, so that a token's result does not depend on its batch. Training adds the load-balance loss of
    Fedus 2021 (eq. 4) to ``call.losses["load_balance"]``.

    Args:
        num_experts: experts E.
        top_k: experts a token is sent to.
        hidden_dim: width F of one expert, by default ``factor`` * dim / top_k, which makes a token cost as much as
            in a dense SwiGLU.
        balance: weight of the load-balance loss.
    """

    class Options(Mixer.Options):
        num_experts: int = 4
        top_k: int = 2
        hidden_dim: int | None = None
        factor: float = 8 / 3
        balance: float = 0.01

        def info(self) -> MixerInfo:
            reason = "the number of tokens per expert depends on the data, which breaks the graph"
            return MixerInfo(reach=(0, 0), exceptions={"compilation": reason})

    options: Options

    def __init__(self, dim: int, **options: Any) -> None:
        super().__init__(dim, **options)
        o = self.options
        if not 1 <= o.top_k <= o.num_experts:
            raise ValueError(f"top_k must be between 1 and num_experts={o.num_experts}, got {o.top_k}")
        F = hidden_width(dim, o.hidden_dim, o.factor / o.top_k)
        self.num_experts, self.top_k, self.balance = o.num_experts, o.top_k, o.balance
        self.router = Linear(dim, o.num_experts, bias=False)
        self.up = nn.Parameter(torch.empty(o.num_experts, dim, 2 * F))
        self.down = nn.Parameter(torch.empty(o.num_experts, F, dim))
        for weight in (self.up, self.down):
            nn.init.uniform_(weight, -(weight.shape[1] ** -0.5), weight.shape[1] ** -0.5)

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        B, T, D = x.shape
        scores = widen(self.router(x)).flatten(0, 1)  # (B*T, E)
        top, expert = scores.topk(self.top_k, -1)
        weight = top.softmax(-1).to(x.dtype)
        if self.training:
            self._balance_loss(scores, expert, inputs)
        # Sort the (token, choice) pairs by expert, run each expert once on its tokens, and scatter the results back.
        order = expert.flatten().argsort(stable=True)
        token = torch.div(order, self.top_k, rounding_mode="floor")
        counts = torch.bincount(expert.flatten(), minlength=self.num_experts).tolist()
        parts = x.flatten(0, 1)[token].split(counts)
        done = torch.cat([self._expert(e, part) for e, part in enumerate(parts)])
        y = torch.zeros_like(x).flatten(0, 1)
        return y.index_add(0, token, done.to(x.dtype) * weight.flatten()[order, None]).reshape(B, T, D)

    def _expert(self, expert: int, x: Tensor) -> Tensor:
        gate, up = (x @ self.up[expert].to(x.dtype)).chunk(2, -1)
        return (silu(gate) * up) @ self.down[expert].to(x.dtype)

    def _balance_loss(self, scores: Tensor, expert: Tensor, inputs: Inputs) -> None:
        real = torch.ones_like(scores[:, 0]) if inputs.mask is None else inputs.mask.flatten().to(scores)
        total = real.sum().clamp_min(1)
        share = (one_hot(expert, self.num_experts).sum(1) * real[:, None]).sum(0) / (total * self.top_k)
        probability = (scores.softmax(-1) * real[:, None]).sum(0) / total
        inputs.call.add_loss("load_balance", self.balance * self.num_experts * (share * probability).sum())
