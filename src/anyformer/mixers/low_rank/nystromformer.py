"""Nyströmformer: softmax attention approximated through a few landmarks."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from anyformer.contract import Inputs, Mixer, MixerInfo, Mixing
from anyformer.layers.heads import head_width, merge_heads, split_heads
from anyformer.layers.linear import Linear
from anyformer.mixers import register_mixer
from anyformer.ops.attention import attention
from anyformer.precision import no_autocast, wide


def newton_inverse(a: Tensor, iterations: int) -> Tensor:
    """Approximate the pseudoinverse of nonnegative matrices a (..., n, n) (Razavi 2014; Xiong 2021, eq. 11).

    Z <- Z (13 I - A Z (15 I - A Z (7 I - A Z))) / 4, from Z = A^T / (|A|_1 |A|_inf) for each matrix.
    """
    one = torch.eye(a.shape[-1], device=a.device, dtype=a.dtype)
    size = a.sum(-2).amax(-1) * a.sum(-1).amax(-1)
    z = a.mT / torch.where(size > 0, size, 1.0)[..., None, None]
    for _ in range(iterations):
        az = a @ z
        z = z @ (13 * one - az @ (15 * one - az @ (7 * one - az))) / 4
    return z


def segment_weights(inputs: Inputs, count: int, dtype: torch.dtype) -> Tensor:
    """Return the weights of the means over ``count`` equal segments of the real tokens, (B, count, T).

    Token i of n belongs to segment floor(i count / n). With n < ``count`` each token is one segment and the last rows
    are zero.
    """
    lengths = inputs.lengths[:, None]
    segments = lengths.clamp_max(count)
    number = (inputs.index * segments).div(lengths.clamp_min(1), rounding_mode="floor")
    member = number[:, None, :] == torch.arange(count, device=number.device)[:, None]
    if inputs.mask is not None:
        member = member & inputs.mask[:, None, :]
    return member.to(dtype) / member.sum(-1, keepdim=True).clamp_min(1)


@register_mixer(
    "nystromformer",
    examples=[
        {"num_landmarks": 8, "conv_width": 5},
        {"num_landmarks": 30, "conv_width": 0, "iterations": 2},
    ],
)
class Nystromformer(Mixer):
    """Attention through landmarks (Xiong 2021, eq. 13): y = F A^+ (B v) + conv(v), linear in the length.

    F = softmax(q K'^T), A = softmax(Q' K'^T), B = softmax(Q' k^T), scores over sqrt(K), where Q' and K' are the means
    of queries and keys over equal segments of the real tokens. conv is along time, one filter a head.

    Args:
        num_heads: heads H.
        num_landmarks: segments m; all tokens if there are fewer.
        iterations: of :func:`newton_inverse` for A^+.
        conv_width: taps of the convolution, odd; 0 for none.
        bias: biases on the projections.
        causal: must be False: landmarks are means over the whole sequence.
    """

    class Options(Mixer.Options):
        num_heads: int = 4
        num_landmarks: int = 64
        iterations: int = 6
        conv_width: int = 33
        bias: bool = False
        causal: bool = False

        def info(self) -> MixerInfo:
            self.needs_causal(False, "its landmarks are means over the whole sequence")
            if self.num_landmarks < 1 or self.iterations < 1:
                raise ValueError(
                    f"num_landmarks and iterations must be at least 1, got {self.num_landmarks} and {self.iterations}"
                )
            if self.conv_width < 0 or (self.conv_width and self.conv_width % 2 == 0):
                raise ValueError(f"conv_width must be odd, or 0 for none, got {self.conv_width}")
            return MixerInfo(reach=(None, None))

    options: Options

    def __init__(self, dim: int, **options: Any) -> None:
        super().__init__(dim, **options)
        o = self.options
        self.num_heads, self.num_landmarks, self.iterations = o.num_heads, o.num_landmarks, o.iterations
        head_width(dim, o.num_heads, None)
        self.q = Linear(dim, dim, bias=o.bias)
        self.k = Linear(dim, dim, bias=o.bias)
        self.v = Linear(dim, dim, bias=o.bias)
        self.out = Linear(dim, dim, bias=o.bias)
        self.conv: nn.Conv2d | None = None
        if o.conv_width:
            pad = (o.conv_width // 2, 0)
            self.conv = nn.Conv2d(
                o.num_heads, o.num_heads, (o.conv_width, 1), padding=pad, bias=False, groups=o.num_heads
            )

    def _factors(self, x: Tensor, inputs: Inputs) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Return q (B, H, T, K), Q' and K' (B, H, m, K), A^+ (B, H, m, m), and the real landmarks (B, 1, 1, m) bool."""
        q, k = split_heads(self.q(x), self.num_heads), split_heads(self.k(x), self.num_heads)
        weights = segment_weights(inputs, self.num_landmarks, q.dtype)[:, None]
        there = weights.detach().sum(-1)[:, :, None, :] > 0
        q_marks, k_marks = weights @ q, weights @ k
        dtype = wide(q.dtype)
        with no_autocast(q):
            scores = q_marks.to(dtype) @ k_marks.to(dtype).mT * q.shape[3] ** -0.5
            a = scores.masked_fill(~there, -torch.inf).softmax(-1).nan_to_num(0.0)
            inverse = newton_inverse(a.masked_fill(~there.mT, 0.0), self.iterations)
        return q, k, q_marks, k_marks, inverse

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        if x.shape[1] == 0:
            return x
        v = split_heads(self.v(x), self.num_heads)
        v = v if inputs.mask is None else v.masked_fill(~inputs.mask[:, None, :, None], 0.0)
        return self.out(merge_heads(self._read(v, x, inputs)))

    def _read(self, v: Tensor, x: Tensor, inputs: Inputs) -> Tensor:
        """Apply the whole map to values v (B, H, T, V), from right to left."""
        q, k, q_marks, k_marks, inverse = self._factors(x, inputs)
        real = None if inputs.mask is None else inputs.mask[:, None, None, :]
        marks = torch.arange(self.num_landmarks, device=x.device) < inputs.lengths[:, None, None, None]
        read = attention(q_marks, k, v, visible=real)
        with no_autocast(q):
            found = (inverse @ read.to(inverse.dtype)).to(v.dtype)
        y = attention(q, k_marks, found, visible=marks)
        return y if self.conv is None else y + self.conv(v)

    def _mixing(self, x: Tensor, inputs: Inputs) -> Mixing:
        v = split_heads(self.v(x), self.num_heads)
        T = x.shape[1]
        real = torch.ones_like(inputs.index, dtype=torch.bool) if inputs.mask is None else inputs.mask
        each = (
            torch.eye(T, device=x.device, dtype=x.dtype).expand(*v.shape[:2], T, T) * real[:, None, :, None]
        )
        matrix = self._read(each, x, inputs)
        return Mixing(matrix, v, lambda y: inputs.zero(self.out(merge_heads(y))))
