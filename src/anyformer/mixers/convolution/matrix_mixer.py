"""Mixers whose token matrix has a classical structure, with data-dependent entries."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from anyformer.contract import Inputs, Mixer, MixerInfo, Mixing
from anyformer.layers.heads import head_width, merge_heads, split_heads
from anyformer.layers.linear import Linear
from anyformer.mixers import register_mixer
from anyformer.registry import nearest

CLASSES = ("cauchy", "vandermonde")


@register_mixer(
    "matrix_mixer",
    examples=[{"matrix": name, "causal": False} for name in CLASSES],
)
class MatrixMixer(Mixer):
    """Cauchy and Vandermonde matrices over the tokens (Hwang 2024, section 2 and table 1).

    y = out(v + M v), n being the number of tokens and K the width of a head's queries and keys:

    - ``cauchy``: M_ts = sum_k 1 / (exp(q_tk) + exp(k_sk) + 2 b) / sqrt(n K), with b learned;
    - ``vandermonde``: M_ts = sum_k (cos(2 pi eps q_tk s) - cos(2 pi eps k_sk t)) / sqrt(2 n K), with eps = 0.001.

    The paper's other classes are separate mixers: low-rank is ``linear_attention``, Toeplitz a long convolution
    (``s4``), semiseparable ``mamba2``, quasiseparable ``hydra``.

    Args:
        matrix: the class.
        num_heads: heads H.
    """

    class Options(Mixer.Options):
        matrix: str = "cauchy"
        num_heads: int = 4

        def info(self) -> MixerInfo:
            self.needs_causal(False, "its matrices are full")
            return MixerInfo(reach=(None, None), cost="n^2", memory="n^2")

    options: Options

    def __init__(self, dim: int, **options: Any) -> None:
        super().__init__(dim, **options)
        o = self.options
        if o.matrix not in CLASSES:
            raise ValueError(f"unknown matrix {o.matrix!r}{nearest(o.matrix, list(CLASSES))}")
        self.matrix, self.num_heads, self.key_dim = o.matrix, o.num_heads, head_width(dim, o.num_heads, None)
        self.q, self.k, self.v, self.out = (Linear(dim, dim, bias=False) for _ in range(4))
        self.offset = nn.Parameter(torch.tensor(0.5)) if o.matrix == "cauchy" else None

    def _weights(self, x: Tensor, inputs: Inputs) -> Tensor:
        q, k = (split_heads(layer(x), self.num_heads) for layer in (self.q, self.k))
        count = inputs.lengths.clamp_min(1)[:, None, None, None] * self.key_dim
        if self.offset is not None:
            q, k = q.exp() + self.offset, k.exp() + self.offset
            weights = (1 / (q[:, :, :, None] + k[:, :, None])).sum(-1)
        else:
            place = inputs.index.to(inputs.positions.dtype)[:, None] * (2e-3 * torch.pi)
            rows = (q[:, :, :, None] * place[..., None, :, None]).cos()
            columns = (k[:, :, None] * place[..., :, None, None]).cos()
            weights, count = (rows - columns).sum(-1).to(x.dtype), 2 * count
        return weights * count.to(weights.dtype).rsqrt()

    def _values(self, x: Tensor, inputs: Inputs) -> Tensor:
        return split_heads(inputs.zero(self.v(x)), self.num_heads)

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        v = self._values(x, inputs)
        return self.out(merge_heads(v + self._weights(x, inputs) @ v))

    def _mixing(self, x: Tensor, inputs: Inputs) -> Mixing:
        weights = self._weights(x, inputs) + torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
        return Mixing(weights, self._values(x, inputs), lambda y: inputs.zero(self.out(merge_heads(y))))
