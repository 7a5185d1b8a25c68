from __future__ import annotations

import pytest
import torch
from torch.nn.functional import logsigmoid

from anyformer.mixers import create_mixer
from anyformer.mixers.softmax import fox


def test_scores_fall_by_the_gates_between() -> None:
    """The paper's definition: weights proportional to exp(q_i k_j) times the product of the gates after j."""
    mixer = create_mixer("fox", 8, num_heads=2).double()
    torch.nn.init.normal_(mixer.forget.bias)
    x = torch.randn(2, 7, 8, dtype=torch.float64)
    q, k, v = (t.reshape(2, 7, 2, 4) for t in mixer.qkv(x).chunk(3, -1))
    gate = mixer.forget(x).sigmoid()
    rows = []
    for i in range(7):
        weights = []
        for j in range(i + 1):
            product = gate[:, j + 1 : i + 1].prod(1)
            weights.append(product * ((q[:, i] * k[:, j]).sum(-1) / 2).exp())
        p = torch.stack(weights, 1)
        p = p / p.sum(1, keepdim=True)
        rows.append((p[..., None] * v[:, : i + 1]).sum(1).flatten(1))
    torch.testing.assert_close(mixer(x), mixer.out(torch.stack(rows, 1)))


def test_open_gates_leave_plain_attention() -> None:
    mixer = create_mixer("fox", 16).double()
    torch.nn.init.constant_(mixer.forget.bias, 60.0)
    plain = create_mixer("attention", 16, positions="none").double()
    plain.out.load_state_dict(mixer.out.state_dict())
    for part, weight in zip((plain.q, plain.k, plain.v), mixer.qkv.weight.detach().chunk(3)):
        part.weight = torch.nn.Parameter(weight.clone())
    x = torch.randn(2, 20, 16, dtype=torch.float64)
    torch.testing.assert_close(mixer(x), plain(x))


def test_far_tokens_stay_accurate_in_float32() -> None:
    """After thousands of half-closed gates (terms of -2000), differences of the running sum are still good."""
    mixer = create_mixer("fox", 8)
    x = torch.randn(1, 3000, 8)
    exact = create_mixer("fox", 8).double()
    exact.load_state_dict(mixer.state_dict())
    expected = exact(x.double())
    torch.testing.assert_close(mixer(x).double(), expected, rtol=1e-5, atol=1e-5)
    _, state = mixer.stream(x[:, :2990], mixer.init_state(1))
    torch.testing.assert_close(
        mixer.stream(x[:, 2990:], state)[0].double(), expected[:, 2990:], rtol=1e-5, atol=1e-5
    )


def test_equals_flash_linear_attention() -> None:
    naive = pytest.importorskip("fla.ops.forgetting_attn.naive")
    mixer = create_mixer("fox", 8, num_heads=2)
    x = torch.randn(2, 13, 8)
    q, k, v = (t.unflatten(-1, (2, 4)) for t in mixer.qkv(x).chunk(3, -1))
    y = naive.naive_forgetting_attn(q, k, v, logsigmoid(mixer.forget(x)), scale=0.5)
    y = y[0] if isinstance(y, tuple) else y
    torch.testing.assert_close(mixer(x), mixer.out(y.flatten(2)), rtol=1e-5, atol=1e-5)


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    mixer = create_mixer("fox", 8).double()
    x = torch.randn(2, 23, 8, dtype=torch.float64, requires_grad=True)
    results = []
    for block in (512, 5):
        monkeypatch.setattr(fox, "BLOCK", block)
        y = mixer(x)
        results.append((y, *torch.autograd.grad(y.square().sum(), [x, *mixer.parameters()])))
    for a, b in zip(*results):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)
    assert mixer(x[:, :0]).shape == (2, 0, 8)


def test_causal_only() -> None:
    with pytest.raises(ValueError, match="causal=False is not possible for fox"):
        create_mixer("fox", 8, causal=False)


def test_pro_is_its_formulas() -> None:
    mixer = create_mixer("fox", 8, num_heads=2, pro=True).double()
    torch.nn.init.normal_(mixer.scales)
    x = torch.randn(2, 7, 8, dtype=torch.float64)
    q, k, v = mixer.qkv(x).chunk(3, -1)
    share = mixer.shift(x).sigmoid().repeat_interleave(4, -1).chunk(2, -1)
    shifted = []
    for y, a in zip((k, v), share):
        before = torch.cat([torch.zeros_like(y[:, :1]), y[:, :-1]], 1)
        shifted.append(a * before + (1 - a) * y)

    def norm(y: torch.Tensor, i: int) -> torch.Tensor:
        y = y.unflatten(-1, (2, 4))
        return y * (y.square().mean(-1, keepdim=True) + 1e-6).rsqrt() * mixer.scales[i, :, 0]

    q, k, v = (t.transpose(1, 2) for t in (norm(q, 0), norm(shifted[0], 1), shifted[1].unflatten(-1, (2, 4))))
    c = logsigmoid(mixer.forget(x)).cumsum(1).mT
    y = torch.nn.functional.scaled_dot_product_attention(
        q,
        k,
        v,
        attn_mask=(c[..., :, None] - c[..., None, :]).masked_fill(torch.ones(7, 7).triu(1) > 0, -torch.inf),
    )
    y = norm(y.transpose(1, 2).flatten(2), 2).flatten(2) * mixer.gate(x).sigmoid()
    torch.testing.assert_close(mixer(x), mixer.out(y))
