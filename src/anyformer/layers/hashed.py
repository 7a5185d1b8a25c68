"""Hashed look-ups instead of linear maps: the signs of a chunk of the input index the row of a table."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class HashedLinear(nn.Module):
    """y = sum_k p(z_k) T_k[h(z_k)], z_k the chunks of x (Ding 2024, eq. 5-9).

    h(z) reads the signs of z as bits. p(z) = exp(z . sign(z) / t) / sum over all sign vectors b of exp(z . b / t), the
    product of sigmoid(2 |z_i| / t), is the confidence in the signs, and passes the gradient to x.

    Args:
        in_features: a multiple of ``bits``.
        out_features: columns of the tables.
        bits: channels per chunk; each chunk has a table of 2^bits rows.
        temperature: t.
    """

    def __init__(
        self, in_features: int, out_features: int, *, bits: int = 8, temperature: float = 1.0
    ) -> None:
        super().__init__()
        if not 1 <= bits <= 16 or in_features % bits:
            raise ValueError(f"bits must be 1 to 16 and divide {in_features} features, got {bits}")
        if temperature <= 0:
            raise ValueError(f"temperature must be above 0, got {temperature}")
        self.bits, self.temperature = bits, temperature
        chunks = in_features // bits
        self.tables = nn.Parameter(torch.randn(chunks, 2**bits, out_features) * chunks**-0.5)

    def forward(self, x: Tensor) -> Tensor:
        """Return y (..., out_features) of x (..., in_features)."""
        wide = torch.promote_types(x.dtype, torch.float32)  # no autocast: rounding could flip signs
        z = x.to(wide).unflatten(-1, (-1, self.bits))
        sure = torch.sigmoid(2 * z.abs() / self.temperature).prod(-1)
        place = 2 ** torch.arange(self.bits, device=x.device)
        row = ((z >= 0) * place).sum(-1)
        chunk = torch.arange(z.shape[-2], device=x.device)
        found = self.tables[chunk, row]  # (..., chunks, out_features)
        return (sure[..., None] * found).sum(-2).to(x.dtype)
