"""Mixture of hidden dimensions: a feed-forward network on the channels that each token selects."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from anyformer.channels import register_channel
from anyformer.channels.swiglu import SwiGLU
from anyformer.contract import Inputs, Mixer, MixerInfo
from anyformer.layers.grouped import GroupedLinear
from anyformer.layers.linear import Linear
from anyformer.precision import widen


@register_channel(
    "mohd",
    examples=[
        {},
        {"num_groups": 4, "num_shared": 0, "top_k": 1},
        {"num_groups": 4, "num_shared": 1, "top_k": 2, "fusion": False},
    ],
)
class MixtureOfHiddenDimensions(Mixer):
    """A SwiGLU on a part of the channels, which each token selects (Chen 2024, section 3).

    The D channels form groups. ``num_shared`` groups are active for all tokens, and a router activates the ``top_k``
    best of the others, each scaled by its probability times their number. The network reads and writes active groups
    only. Its input is divided by the square root of the active share, which keeps its scale (activation scaling); its
    output goes through a linear map across groups, per channel of a group (group fusion), so that inactive groups get
    something too.

    Args:
        num_groups: groups of neighbouring channels, a divisor of dim.
        num_shared: groups that are always active.
        top_k: other groups that a token activates.
        hidden_dim, factor: hidden width of the SwiGLU.
        fusion: apply group fusion after the network.
        balance: weight of the load-balance loss, ``call.losses["load_balance"]``.
    """

    class Options(Mixer.Options):
        num_groups: int = 8
        num_shared: int = 2
        top_k: int = 2
        hidden_dim: int | None = None
        factor: float = 8 / 3
        fusion: bool = True
        balance: float = 0.01

        def info(self) -> MixerInfo:
            return MixerInfo(reach=(0, 0))

    options: Options

    def __init__(self, dim: int, **options: Any) -> None:
        super().__init__(dim, **options)
        o = self.options
        if o.num_groups < 1 or dim % o.num_groups:
            raise ValueError(f"num_groups must divide dim={dim}, got {o.num_groups}")
        if o.num_shared < 0 or not 1 <= o.top_k <= o.num_groups - o.num_shared:
            raise ValueError(
                f"num_shared and top_k must be at least 0 and 1, together at most num_groups={o.num_groups}, "
                f"got {o.num_shared} and {o.top_k}"
            )
        self.num_groups, self.num_shared, self.top_k = o.num_groups, o.num_shared, o.top_k
        self.balance = o.balance
        self.router = Linear(dim, o.num_groups - o.num_shared, bias=False)
        self.inner = SwiGLU(dim, hidden_dim=o.hidden_dim, factor=o.factor)
        self.fusion = GroupedLinear(dim, dim, dim // o.num_groups, bias=False) if o.fusion else None
        if self.fusion is not None:  # the identity at first
            with torch.no_grad():
                self.fusion.weight.copy_(torch.eye(o.num_groups).expand_as(self.fusion.weight))

    def gates(self, x: Tensor, inputs: Inputs | None = None) -> Tensor:
        """Return 1 for shared groups, the scaled probability for selected ones and 0 for others: (B, T, groups)."""
        probability = widen(self.router(x)).softmax(-1)
        top = probability.topk(self.top_k, -1).indices
        chosen = torch.zeros_like(probability).scatter(-1, top, 1.0)
        if self.training and inputs is not None and self.balance:
            real = probability.new_ones(x.shape[:2]) if inputs.mask is None else inputs.mask.to(probability)
            total = real.sum().clamp_min(1)
            share, mean = (
                (t * real[..., None]).sum((0, 1)) / total for t in (chosen / self.top_k, probability)
            )
            routed = probability.shape[-1]
            inputs.call.add_loss("load_balance", self.balance * routed * (share * mean).sum())
        weight = chosen * probability * probability.shape[-1]
        shared = weight.new_ones(*weight.shape[:-1], self.num_shared)
        return torch.cat([shared, weight], -1).to(x.dtype)

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        gates = self.gates(x, inputs)[..., None]
        on = (self.num_shared + self.top_k) / self.num_groups
        read = (x.unflatten(-1, (self.num_groups, -1)) * gates * on**-0.5).flatten(-2)
        y = self.inner(read, inputs).unflatten(-1, (self.num_groups, -1)) * (gates != 0)
        if self.fusion is None:
            return y.flatten(-2)
        fused = self.fusion(y.transpose(-1, -2).flatten(-2))
        return fused.unflatten(-1, (-1, self.num_groups)).transpose(-1, -2).flatten(-2)
