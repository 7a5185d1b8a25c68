"""Short causal convolutions and token shifts: layers whose state is a sample's last few inputs."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from anyformer.ops.short_conv import ACTIVATIONS, short_conv
from anyformer.state import State


def join(x: Tensor, past: Tensor | None, width: int) -> Tensor:
    """Prepend ``past`` (B, width, D), by default zeros, to x (B, T, D)."""
    return pad(x, (0, 0, width, 0)) if past is None else torch.cat((past.to(x.dtype), x), 1)


def recent(x: Tensor, past: Tensor | None, width: int, mask: Tensor | None = None) -> Tensor:
    """Return the last ``width`` real inputs of ``past`` (B, width, D), by default zeros, and x (B, T, D).

    ``mask`` (B, T) marks the real tokens of x, which come first; None if all are.
    """
    B, T, D = x.shape
    if mask is None and width <= T:
        return x[:, T - width :].clone()  # a small copy, which doesn't keep x alive
    past = x.new_zeros(B, width, D) if past is None else past.to(x.dtype)
    if mask is None or T == 0:
        return torch.cat((past[:, T:], x), 1)
    # indices into `past` and x, without concatenating them
    index = (mask.sum(1, keepdim=True) + torch.arange(width, device=x.device))[..., None].expand(-1, -1, D)
    old, new = past.gather(1, index.clamp_max(width - 1)), x.gather(1, (index - width).clamp_min(0))
    return torch.where(index < width, old, new)


class ShortConv(nn.Module):
    """A causal convolution of each channel: y_t = f(bias + sum_i weight_i x_{t - (W - 1) + i}).

    Args:
        dim: channels D.
        width: taps W.
        heads: groups of neighbouring channels, of which the d-th channels share their taps.
        bias: add a bias.
        activation: f, ``"silu"`` or None.
    """

    def __init__(
        self, dim: int, width: int, *, heads: int = 1, bias: bool = True, activation: str | None = None
    ) -> None:
        super().__init__()
        if width < 1:
            raise ValueError(f"width must be at least 1, got {width}")
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation must be 'silu' or None, got {activation!r}")
        if dim % heads:
            raise ValueError(f"heads must divide dim={dim}, got {heads}")
        self.dim, self.width, self.heads, self.activation = dim, width, heads, activation
        bound = width**-0.5  # PyTorch's default for a depthwise convolution
        self.weight = nn.Parameter(torch.empty(dim // heads, width).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(dim // heads).uniform_(-bound, bound)) if bias else None

    def forward(
        self, x: Tensor, state: Tensor | None = None, mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Convolve the next tokens.

        Args:
            x: (B, T, D).
            state: each sample's last W - 1 inputs, (B, W - 1, D), oldest first; zeros if None.
            mask: (B, T) bool, real tokens first; None where all are real.

        Returns:
            y (B, T, D), undefined at masked tokens, and the new state.
        """
        weight: Tensor = self.weight
        bias: Tensor | None = self.bias
        if self.heads > 1:
            weight, bias = weight.repeat(self.heads, 1), None if bias is None else bias.repeat(self.heads)
        y = short_conv(x, weight, bias, past=state, activation=self.activation)
        return y, recent(x, state, self.width - 1, mask)

    def init_state(self, batch_size: int, device: torch.device, dtype: torch.dtype) -> State:
        """Return the state before the first token."""
        return torch.zeros(batch_size, self.width - 1, self.dim, device=device, dtype=dtype)


def token_shift(x: Tensor, last: Tensor | None, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return x moved one token later, after ``last`` (B, 1, D), and each sample's last real input."""
    before = x.new_zeros(len(x), 1, x.shape[2]) if last is None else last.to(x.dtype)
    return torch.cat((before, x), 1)[:, : x.shape[1]], recent(x, last, 1, mask)


def head_conv(num_heads: int, width: int, taps: int) -> ShortConv:
    """Return Primer's convolution, its taps initially 0.5 for the newest token and 0.5 / taps for the others."""
    conv = ShortConv(num_heads * width, taps, heads=num_heads, bias=False)
    with torch.no_grad():
        conv.weight.fill_(0.5 / taps)
        conv.weight[:, -1] = 0.5
    return conv
