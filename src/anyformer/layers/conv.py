"""Short causal convolutions and token shifts: layers that remember a sample's last few inputs."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from anyformer.state import State


def join(x: Tensor, past: Tensor | None, width: int) -> Tensor:
    """x (B, T, D) after ``past`` (B, width, D), or after zeros."""
    return pad(x, (0, 0, width, 0)) if past is None else torch.cat((past.to(x.dtype), x), 1)


def recent(joined: Tensor, width: int, mask: Tensor | None = None) -> Tensor:
    """The last ``width`` real inputs (B, width, D) of what :func:`join` gave.

    ``mask`` (B, T), real tokens first, tells how many of the new tokens are real.
    """
    if mask is None:
        return joined[:, joined.shape[1] - width :]
    index = mask.sum(1, keepdim=True) + torch.arange(width, device=joined.device)
    return joined.gather(1, index[..., None].expand(-1, -1, joined.shape[2]))


class ShortConv(nn.Module):
    """A causal convolution of each channel: y_t = bias + sum_i weight_i x_{t - (W - 1) + i}.

    Args:
        dim: channels D.
        width: taps W.
        bias: whether to add a bias.
    """

    def __init__(self, dim: int, width: int, *, bias: bool = True) -> None:
        super().__init__()
        if width < 1:
            raise ValueError(f"width must be at least 1, got {width}")
        self.width = width
        bound = width**-0.5  # PyTorch's default for a depthwise convolution
        self.weight = nn.Parameter(torch.empty(dim, width).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(dim).uniform_(-bound, bound)) if bias else None

    def forward(
        self, x: Tensor, state: Tensor | None = None, mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Convolve the next tokens.

        Args:
            x: (B, T, D).
            state: each sample's last W - 1 inputs, (B, W - 1, D), oldest first; zeros if None.
            mask: (B, T) bool, real tokens first; None where all are real.

        Returns:
            y (B, T, D) and the new state. y at masked tokens means nothing.
        """
        T = x.shape[1]
        joined = join(x, state, self.width - 1)
        y = self.bias if self.bias is not None else x.new_zeros(x.shape[-1])
        for i in range(self.width):
            y = torch.addcmul(y, joined[:, i : i + T], self.weight[:, i])
        return y, recent(joined, self.width - 1, mask)

    def init_state(self, batch_size: int, device: torch.device, dtype: torch.dtype) -> State:
        """The state before the first token."""
        return torch.zeros(batch_size, self.width - 1, len(self.weight), device=device, dtype=dtype)


def token_shift(x: Tensor, last: Tensor | None, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """x moved one token later, after ``last`` (B, 1, D), and each sample's last real input."""
    joined = join(x, last, 1)
    return joined[:, :-1], recent(joined, 1, mask)
