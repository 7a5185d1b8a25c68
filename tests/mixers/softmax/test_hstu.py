"""Gated attention by SiLU."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import layer_norm, silu

from anyformer.mixers import create_mixer
from anyformer.mixers.softmax.hstu import EPSILON, HSTU


def by_hand(mixer: HSTU, x: Tensor, divisor: int | None = None) -> Tensor:
    """Equations 1 to 3, one query and one head at a time; sums are divided by the number of keys, or ``divisor``."""
    H, K, rows = mixer.num_heads, mixer.head_dim, []
    u, v, q, k = silu(x @ mixer.into.weight.T).split(H * K, -1)
    place = torch.arange(x.shape[1], dtype=x.dtype)
    for i in range(x.shape[1]):
        heads = []
        for h in range(H):
            of = slice(h * K, h * K + K)
            bias = mixer.positions.weight[mixer.positions.buckets(place[: i + 1] - i), h]
            score = torch.einsum("bk,bsk->bs", q[:, i, of], k[:, : i + 1, of]) + bias
            weights = score * score.sigmoid() / (divisor or i + 1)
            heads.append(torch.einsum("bs,bsk->bk", weights, v[:, : i + 1, of]))
        y = torch.cat(heads, -1)
        y = (y - y.mean(-1, keepdim=True)) / (y.var(-1, keepdim=True, unbiased=False) + EPSILON).sqrt()
        rows.append(mixer.out(y * u[:, i]))
    return torch.stack(rows, 1)


def made(**options: object) -> tuple[HSTU, Tensor]:
    torch.manual_seed(0)
    mixer = create_mixer("hstu", 8, num_heads=2, **options).double()
    assert isinstance(mixer, HSTU)
    return mixer, torch.randn(2, 13, 8, dtype=torch.float64)


def test_is_the_formula() -> None:
    mixer, x = made()
    torch.testing.assert_close(mixer(x), by_hand(mixer, x), rtol=1e-9, atol=1e-9)


def test_what_the_sum_is_divided_by_cancels_in_the_norm() -> None:
    """Up to its epsilon: where the sums are large, the authors' padded length gives the same output."""
    mixer, x = made()
    with torch.no_grad():
        mixer.into.weight.mul_(30)
    y = by_hand(mixer, x, divisor=200)
    torch.testing.assert_close(mixer(x), y, rtol=1e-5, atol=1e-5 * float(y.abs().max()))


def test_weights_do_not_compete() -> None:
    """Seen twice, a token counts twice: its weight does not become half of that of one seen once, as a softmax's."""
    mixer, x = made(positions="none", causal=False)
    mixing = mixer.mixing(x)
    twice = mixer.mixing(torch.cat([x, x[:, :1]], 1))
    assert mixing is not None and twice is not None
    torch.testing.assert_close(twice.matrix[:, :, :13, :13] * 14, mixing.matrix * 13)
    negative = mixing.matrix < 0  # and a weight may be negative, if not by much
    assert bool(negative.any()) and float(mixing.matrix.min()) * 13 > -0.279


def test_a_gate_that_is_shut_gives_the_bias() -> None:
    mixer, x = made()
    with torch.no_grad():
        mixer.into.weight[: mixer.num_heads * mixer.head_dim] = 0
    torch.testing.assert_close(mixer(x), mixer.out.bias.expand_as(x))


def test_the_norm_has_no_parameters() -> None:
    mixer, x = made()
    u = torch.ones(2, 13, 8, dtype=torch.float64)
    y = torch.randn(2, 2, 13, 4, dtype=torch.float64)
    expected = mixer.out(layer_norm(y.transpose(1, 2).flatten(2), (8,), eps=EPSILON))
    torch.testing.assert_close(mixer._finish(y, u), expected)


def test_refused() -> None:
    with pytest.raises(ValueError, match="num_heads must divide dim=8"):
        create_mixer("hstu", 8, num_heads=3)
