"""Linear attention: a product of features instead of the softmax, so that the past is one matrix per head."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import elu, relu

from anyformer.contract import Inputs, Mixer, MixerInfo, Mixing
from anyformer.layers.conv import ShortConv
from anyformer.layers.heads import head_width, merge_heads, split_heads
from anyformer.layers.linear import Linear, call_roomy
from anyformer.layers.norms import create_norm
from anyformer.mixers import register_mixer
from anyformer.ops.linear_attention import linear_attention
from anyformer.positions import create_position
from anyformer.precision import widen
from anyformer.registry import nearest
from anyformer.state import State


def positive_elu(x: Tensor) -> Tensor:
    """Return elu(x) + 1."""
    return elu(x) + 1


def identity(x: Tensor) -> Tensor:
    """Return x."""
    return x


FEATURE_MAPS: dict[str, Callable[[Tensor], Tensor]] = {
    "elu": positive_elu,
    "signed_elu": elu,
    "relu": relu,
    "identity": identity,
}
SIGNED = ("signed_elu", "identity")
"""Maps whose weights can be negative, so that their sum must not divide."""


@register_mixer(
    "linear_attention",
    examples=[
        {},
        {"causal": False},
        {"key_dim": 2},
        {"key_dim": 24, "num_heads": 2, "feature_map": "identity", "normalize": False},
        {"feature_map": "relu", "normalize": False, "causal": False},
        {"conv_width": 3},
        {"rotary": True},
        {"rotary": True, "causal": False},
        {"normalize": "rms_norm"},
        {"normalize": "rms_norm", "feature_map": "signed_elu", "causal": False},
    ],
)
class LinearAttention(Mixer):
    """Attention with a product of features instead of the softmax (Katharopoulos 2020, eq. 16-20).

    y_t = phi(q_t) S_t / phi(q_t) z_t, S_t = sum phi(k_s) v_s^T, z_t = sum phi(k_s).

    Args:
        num_heads: heads H.
        key_dim: width K of a head's queries and keys, the rows of its state; by default dim / H.
        feature_map: phi, ``elu`` (elu + 1, the paper's), ``signed_elu`` (elu), ``relu`` or ``identity``.
        normalize: divide by the sum of the weights, which must not be negative; or the name of a norm over all heads
            that is applied to the weighted sum instead (TransNormer, Qin 2022, eq. 12).
        rotary: rotate queries and keys by their positions (RoPE), but not in the sum of the weights, which stays
            positive (Su 2021, eq. 19).
        conv_width: taps of a short convolution before the projections, which encodes local order without positions
            (arXiv 2402.18668); 0 for none. Causal only.
    """

    class Options(Mixer.Options):
        num_heads: int = 4
        key_dim: int | None = None
        feature_map: str = "elu"
        normalize: bool | str = True
        rotary: bool = False
        conv_width: int = 0

        def info(self) -> MixerInfo:
            return MixerInfo(
                reach=(None, 0 if self.causal else None), state="constant" if self.causal else "none"
            )

    options: Options

    def __init__(self, dim: int, **options: Any) -> None:
        super().__init__(dim, **options)
        o = self.options
        if o.feature_map not in FEATURE_MAPS:
            raise ValueError(
                f"unknown feature_map {o.feature_map!r}{nearest(o.feature_map, list(FEATURE_MAPS))}"
            )
        if o.normalize is True and o.feature_map in SIGNED:
            raise ValueError(
                f"normalize must be False or a norm with feature_map={o.feature_map!r}: its weights can be negative"
            )
        self.value_dim = head_width(dim, o.num_heads, None)
        self.key_dim = head_width(dim, o.num_heads, o.key_dim, "key_dim")
        self.num_heads, self.normalize, self.causal = o.num_heads, o.normalize is True, o.causal
        self.norm = create_norm(o.normalize, dim) if isinstance(o.normalize, str) else None
        self.rope = (
            create_position("rope", dim=dim, num_heads=o.num_heads, head_dim=self.key_dim)
            if o.rotary
            else None
        )
        self.feature_map = FEATURE_MAPS[o.feature_map]
        if o.conv_width and not o.causal:
            raise ValueError(f"conv_width must be 0 with causal=False, got {o.conv_width}")
        self.conv = ShortConv(dim, o.conv_width) if o.conv_width else None
        self.q = Linear(dim, o.num_heads * self.key_dim, bias=False)
        self.k = Linear(dim, o.num_heads * self.key_dim, bias=False)
        self.v = Linear(dim, dim, bias=False)
        self.out = Linear(dim, dim, bias=False)

    def _project(self, x: Tensor, state: State, inputs: Inputs) -> tuple[Tensor, Tensor, Tensor, State]:
        new = {}
        if self.conv is not None:
            x, new["conv"] = self.conv(x, state.get("conv"), inputs.mask)
            x = inputs.zero(x)
        q, k, v = (split_heads(layer(x), self.num_heads) for layer in (self.q, self.k, self.v))
        # in float16 elu + 1 underflows, and sums of products overflow
        q, k = self.feature_map(widen(q)) * self.key_dim**-0.5, self.feature_map(widen(k))
        if inputs.mask is not None:  # elu(0) + 1 is 1 for a masked key
            k = k * inputs.mask[:, None, :, None]
        return q, k, v, new

    def _attend(
        self, q: Tensor, k: Tensor, v: Tensor, inputs: Inputs, initial: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        v = widen(v)
        if self.rope is None:
            return linear_attention(q, k, v, normalize=self.normalize, initial=initial, causal=self.causal)
        past, past_sum = (None, None) if initial is None else initial.tensor_split([self.value_dim], -1)
        turned = self.rope.rotate(q, k, inputs.positions)
        y, s = linear_attention(*turned, v, initial=past, causal=self.causal)
        if not self.normalize:
            return y, s
        one = torch.ones_like(v[..., :1])
        total, sums = linear_attention(q, k, one, initial=past_sum, causal=self.causal)
        return y / torch.where(total == 0, 1.0, total), torch.cat([s, sums], -1)

    def _finish(self, y: Tensor) -> Tensor:
        y, dtype = merge_heads(y), self.out.weight.dtype
        y = y if self.norm is None else call_roomy(self.norm, y, dtype)
        return self.out(y.to(dtype))

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        q, k, v, _ = self._project(x, {}, inputs)
        y, _ = self._attend(q, k, v, inputs)
        return self._finish(y)

    def _init_state(self, batch_size: int, device: torch.device, dtype: torch.dtype) -> State:
        wide = torch.promote_types(dtype, torch.float32)
        shape = (batch_size, self.num_heads, self.key_dim, self.value_dim + self.normalize)
        state = {"s": torch.zeros(shape, device=device, dtype=wide)}
        if self.conv is not None:
            state["conv"] = self.conv.init_state(batch_size, device, dtype)
        return state

    def _stream(self, x: Tensor, state: State, inputs: Inputs) -> tuple[Tensor, State]:
        q, k, v, new = self._project(x, state, inputs)
        y, s = self._attend(q, k, v, inputs, state["s"])
        return self._finish(y), {"s": s, **new}

    def _turned(self, q: Tensor, k: Tensor, inputs: Inputs) -> Tensor:
        """Return the products of rotated queries and keys, (B, H, T, S)."""
        assert self.rope is not None
        q, k = self.rope.rotate(q, k, inputs.positions)
        return q @ k.mT

    def _mixing(self, x: Tensor, inputs: Inputs) -> Mixing:
        q, k, v, _ = self._project(x, {}, inputs)
        plain = q @ k.mT
        weights = plain if self.rope is None else self._turned(q, k, inputs)
        weights, plain = (w.tril() if self.causal else w for w in (weights, plain))
        if self.normalize:
            total = plain.sum(-1, keepdim=True)
            weights = weights / torch.where(total == 0, 1.0, total)
        return Mixing(weights, v, lambda y: inputs.zero(self._finish(y)))
