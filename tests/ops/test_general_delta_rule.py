from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, normalize

from anyformer.ops.delta_rule import delta_rule
from anyformer.ops.general_delta_rule import general_delta_rule
from anyformer.ops.linear_attention import linear_attention

B, H, K, V = 2, 3, 5, 4


def make(T: int, dtype: torch.dtype = torch.float64) -> dict[str, Tensor]:
    torch.manual_seed(0)
    q, k = torch.randn(2, B, H, T, K, dtype=torch.float64)
    a = normalize(torch.randn(B, H, T, K, dtype=torch.float64), dim=-1)
    parts = {
        "q": q,
        "k": k,
        "v": torch.randn(B, H, T, V, dtype=torch.float64),
        "a": -a,
        "b": a * torch.rand(B, H, T, K, dtype=torch.float64),
        "log_decay": logsigmoid(2 + torch.randn(B, H, T, K, dtype=torch.float64)),
        "initial": torch.randn(B, H, K, V, dtype=torch.float64),
    }
    return {name: x.to(dtype) for name, x in parts.items()}


@pytest.mark.parametrize("T", [1, 2, 31, 33, 32 * 33 + 5])
def test_fast_form_is_the_definition(agrees, T):
    agrees(general_delta_rule, **make(T))


def test_float32_tolerance(agrees):
    agrees(general_delta_rule, 3e-5, **make(130, torch.float32))


@pytest.mark.parametrize("strength", [-30.0, -1e4])
def test_strong_decay_neither_overflows_nor_loses_accuracy(agrees, strength):
    parts = make(100, torch.float32)
    parts["log_decay"][..., ::2] = strength
    parts["log_decay"][:, :, ::7] = -0.1
    agrees(general_delta_rule, 5e-5, **parts)


def test_pieces_chained_are_the_whole():
    parts = make(90)
    state = parts.pop("initial")
    y, final = general_delta_rule(**parts, initial=state)
    pieces = []
    for start, stop in ((0, 1), (1, 1), (1, 50), (50, 90)):
        out, state = general_delta_rule(**{n: x[:, :, start:stop] for n, x in parts.items()}, initial=state)
        pieces.append(out)
    torch.testing.assert_close(torch.cat(pieces, 2), y)
    torch.testing.assert_close(state, final)


def test_its_cases():
    """The delta rule, the gated one, and linear attention with a vector decay."""
    parts = make(70)
    q, k, v = parts["q"], normalize(parts["k"], dim=-1), parts["v"]
    beta, d = torch.rand(B, H, 70, dtype=torch.float64), parts["log_decay"][..., 0]
    written = beta[..., None] * k
    y, _ = general_delta_rule(q, written, v, k, -written)
    torch.testing.assert_close(y, delta_rule(q, k, v, beta)[0])
    wide = d[..., None].expand_as(q)
    y, _ = general_delta_rule(q, written, v, k * d.exp()[..., None], -written, log_decay=wide)
    torch.testing.assert_close(y, delta_rule(q, k, v, beta, log_decay=d)[0])
    y, _ = general_delta_rule(q, k, v, 0 * k, k, log_decay=parts["log_decay"])
    torch.testing.assert_close(y, linear_attention(q, k, v, log_decay=parts["log_decay"])[0])


def test_errors():
    parts = make(4)
    with pytest.raises(ValueError, match=r"a must have shape \(2, 3, 4, 5\)"):
        general_delta_rule(**{**parts, "a": parts["a"][..., :1]})
    with pytest.raises(ValueError, match="initial must have shape"):
        general_delta_rule(**{**parts, "initial": parts["initial"].mT})
