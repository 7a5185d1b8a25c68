"""EcoFormer: linear attention on binary codes, which additions can compute."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize, pad

from anyformer.contract import Inputs, Mixer, MixerInfo, Mixing
from anyformer.layers.heads import head_width, merge_heads, split_heads
from anyformer.layers.kernel_hash import KernelHash
from anyformer.layers.linear import Linear
from anyformer.mixers import register_mixer
from anyformer.ops.linear_attention import linear_attention
from anyformer.precision import no_autocast
from anyformer.state import State

MOST = 128
"""Most tokens of a batch that hashes are fitted to."""


@register_mixer(
    "ecoformer",
    examples=[{}, {"causal": False}, {"num_bits": 8, "num_anchors": 6, "num_heads": 2}],
)
class EcoFormer(Mixer):
    """y_t = sum_s w_ts v_s / sum_s w_ts with w_ts = h_t . h_s + bits + 1, h_t the code of token t (Liu 2022, eq. 6-9).

    h . h' is bits minus twice the Hamming distance of two codes, so that weights are positive and factorise; products
    with codes are additions and subtractions. Queries and keys are one projection, of unit length, with one code.

    Hashes (:class:`~anyformer.layers.kernel_hash.KernelHash`) are fitted between training steps, to the most and the
    least similar tokens of a batch.

    Args:
        num_heads: heads H.
        num_bits: bits of a code.
        num_anchors: vectors that a token is compared with to hash it.
        num_pairs: tokens that each token's code should agree with, and as many that it should differ from.
        num_fits: number of times that hashes are fitted, spread over training from its first step on.
    """

    fits: Tensor

    class Options(Mixer.Options):
        num_heads: int = 4
        num_bits: int = 16
        num_anchors: int = 20
        num_pairs: int = 10
        num_fits: int = 4

        def info(self) -> MixerInfo:
            return MixerInfo(
                reach=(None, 0 if self.causal else None), state="constant" if self.causal else "none"
            )

    options: Options

    def __init__(self, dim: int, **options: Any) -> None:
        super().__init__(dim, **options)
        o = self.options
        if o.num_pairs < 1 or o.num_fits < 0:
            raise ValueError(
                f"num_pairs must be at least 1 and num_fits at least 0, got {o.num_pairs} and {o.num_fits}"
            )
        self.num_heads, self.head_dim, self.causal = o.num_heads, head_width(dim, o.num_heads, None), o.causal
        self.num_bits, self.num_pairs, self.num_fits = o.num_bits, o.num_pairs, o.num_fits
        self.qk = Linear(dim, dim, bias=False)
        self.v = Linear(dim, dim, bias=False)
        self.out = Linear(dim, dim, bias=False)
        self.hash = KernelHash(o.num_heads, self.head_dim, o.num_bits, o.num_anchors)
        self.register_buffer("fits", torch.zeros((), dtype=torch.int64))

    def _project(self, x: Tensor, inputs: Inputs) -> tuple[Tensor, Tensor, Tensor]:
        """Return the codes of queries and of keys, each with one more constant channel, and the values."""
        with no_autocast(x):  # rounding would change codes
            qk = split_heads(self.qk.exact(x), self.num_heads)
            qk = normalize(qk.to(torch.promote_types(qk.dtype, torch.float32)), dim=-1, eps=1e-6)
            if self.training and "qk" not in inputs.call.notes.get(self, {}):
                inputs.call.note(self, "qk", self._some(qk, inputs))
            codes = pad(self.hash(qk), (0, 1), value=(self.num_bits + 1) ** 0.5)
        k = codes if inputs.mask is None else codes * inputs.mask[:, None, :, None]
        return codes, k, split_heads(self.v(x), self.num_heads).to(codes.dtype)

    def _some(self, qk: Tensor, inputs: Inputs) -> Tensor:
        """Return evenly spaced real tokens of all samples, (H, N, K)."""
        flat = qk.detach().transpose(1, 2)
        flat = flat.flatten(0, 1) if inputs.mask is None else flat[inputs.mask]
        step = max(1, -(-len(flat) // MOST))
        return flat[::step].transpose(0, 1)

    def after_step(self, notes: Mapping[str, Tensor], progress: float) -> None:
        """Fit the hashes at the steps that ``num_fits`` gives."""
        if "qk" in notes and int(self.fits) < self.num_fits and progress * self.num_fits >= int(self.fits):
            self.hash.fit(notes["qk"], num_pairs=self.num_pairs)
            self.fits += 1

    def _finish(self, y: Tensor) -> Tensor:
        return self.out(merge_heads(y).to(self.out.weight.dtype))

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        q, k, v = self._project(x, inputs)
        return self._finish(linear_attention(q, k, v, normalize=True, causal=self.causal)[0])

    def _init_state(self, batch_size: int, device: torch.device, dtype: torch.dtype) -> State:
        wide = torch.promote_types(dtype, torch.float32)
        shape = (batch_size, self.num_heads, self.num_bits + 1, self.head_dim + 1)
        return {"s": torch.zeros(shape, device=device, dtype=wide)}

    def _stream(self, x: Tensor, state: State, inputs: Inputs) -> tuple[Tensor, State]:
        q, k, v = self._project(x, inputs)
        y, s = linear_attention(q, k, v, normalize=True, initial=state["s"])
        return self._finish(y), {"s": s}

    def _mixing(self, x: Tensor, inputs: Inputs) -> Mixing:
        q, k, v = self._project(x, inputs)
        weights = (q @ k.mT).tril() if self.causal else q @ k.mT
        total = weights.sum(-1, keepdim=True)
        matrix = weights / torch.where(total == 0, 1.0, total)
        return Mixing(matrix, v, lambda y: inputs.zero(self._finish(y)))
