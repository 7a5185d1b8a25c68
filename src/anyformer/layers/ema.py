"""Exponential moving averages with damping, several for each channel."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from anyformer.layers.state_space import DecaySpace, run_space
from anyformer.ops.long_conv import long_conv
from anyformer.precision import no_autocast, wide
from anyformer.state import State


class DampedEMA(nn.Module):
    """The multi-dimensional damped EMA (Ma 2022, eq. 4-6): a weighted sum of N averages per channel.

    h_t = alpha beta x_t + (1 - alpha delta) h_{t-1}, y_t = eta h_t, with alpha and delta in (0, 1) per channel and
    average. It runs as a convolution, in streaming as the recurrence. Bidirectionally, the averages over later tokens
    have separate weights, and both sums include the current token:
    y_t = sum_{s <= t} k_{t-s} x_s + sum_{s >= t} k'_{s-t} x_s, as in the released code (branch main of
    github.com/facebookresearch/mega).

    Args:
        dim: channels D.
        num_averages: N.
        bidirectional: add averages over later tokens.
    """

    def __init__(self, dim: int, num_averages: int = 16, *, bidirectional: bool = False) -> None:
        super().__init__()
        if num_averages < 1:
            raise ValueError(f"num_averages must be at least 1, got {num_averages}")
        self.dim, self.num_averages, self.bidirectional = dim, num_averages, bidirectional
        shape = (2 if bidirectional else 1, dim, num_averages)
        self.alpha = nn.Parameter(torch.randn(shape) * 0.2)  # before the sigmoid, as is delta
        self.delta = nn.Parameter(torch.randn(shape) * 0.2)
        signs = 1.0 - 2.0 * (torch.arange(num_averages) % 2)
        self.beta = nn.Parameter(signs + torch.randn(shape) * 0.02)
        self.eta = nn.Parameter(torch.randn(shape) * num_averages**-0.5)

    def space(self, direction: int = 0) -> DecaySpace:
        """Return the averages as a state space, of the past (0) or of later tokens (1)."""
        alpha, delta, beta, eta = (
            p[direction].to(wide(p.dtype)) for p in (self.alpha, self.delta, self.beta, self.eta)
        )
        alpha = alpha.sigmoid()
        kept = (alpha * delta.sigmoid()).clamp_max(1 - torch.finfo(alpha.dtype).eps)
        return DecaySpace(torch.log1p(-kept), alpha * beta, eta)

    def forward(self, x: Tensor) -> Tensor:
        """Return y (B, T, D) of a whole sequence x (B, T, D), zero at masked tokens, which come last."""
        T = x.shape[1]
        if T == 0:
            return x
        with no_autocast(x):
            kernel = self.space().kernel(T)
            if self.bidirectional:
                later = self.space(1).kernel(T)
                kernel = pad(kernel, (T - 1, 0)) + pad(later.flip(-1), (0, T - 1))
            return long_conv(x.mT, kernel, causal=not self.bidirectional).mT

    def init_state(self, batch_size: int, device: torch.device, dtype: torch.dtype) -> State:
        """Return the averages before the first token, (B, D, N)."""
        return torch.zeros(batch_size, self.dim, self.num_averages, device=device, dtype=wide(dtype))

    def stream(self, x: Tensor, state: State, lengths: Tensor) -> tuple[Tensor, State]:
        """Mix the next tokens x (B, T, D) of streams, of which the first ``lengths`` (B,) are real and the others zero.

        Returns:
            y (B, T, D), undefined at masked tokens, and the new state.
        """
        assert not self.bidirectional
        with no_autocast(x):
            y, new = run_space(self.space(), x.to(state.dtype), state, lengths)
        return y.to(x.dtype), new
