"""Limit cases across families: where one term is gone, a part is its neighbour, output by output."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from anyformer.contract import Mixer
from anyformer.mixers import create_mixer
from anyformer.ops.delta_rule import delta_rule
from anyformer.ops.linear_attention import linear_attention
from anyformer.ops.log_linear_attention import log_linear_attention
from anyformer.ops.masks import Causal, Segments, Window
from anyformer.ops.sparse_attention import sparse_attention
from anyformer.positions import create_position

B, H, T, K = 2, 3, 45, 8
HEADS = {"dim": 24, "num_heads": H, "head_dim": K}


def heads(count: int, width: int = K, length: int = T) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(B, H, length, width, generator=generator, dtype=torch.float64) for _ in range(count)]


def same(a: Tensor, b: Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-10)


def twins(one: Mixer, other: Mixer) -> tuple[Tensor, Tensor]:
    """Outputs of two mixers under the weights of the first."""
    one, other = one.double(), other.double()
    other.load_state_dict(one.state_dict())
    x = torch.randn(B, T, one.dim, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return one(x), other(x)


class TestLinear:
    """One state, S_t = decay S_{t-1} + k_t v_t^T, from several sides."""

    def test_retention_without_decay_is_linear_attention(self) -> None:
        q, k, v = heads(3)
        none, state = linear_attention(q, k, v)
        retained, kept = linear_attention(q, k, v, log_decay=torch.zeros(H, dtype=torch.float64))
        same(retained, none)
        same(kept, state)

    def test_a_decay_a_channel_is_one_a_head_where_channels_agree(self) -> None:
        q, k, v = heads(3)
        decay = -heads(1, 1)[0].abs()
        one, _ = linear_attention(q, k, v, log_decay=decay[..., 0])
        same(linear_attention(q, k, v, log_decay=decay.expand(-1, -1, -1, K))[0], one)

    def test_the_delta_rule_has_nothing_to_correct_under_orthogonal_keys(self) -> None:
        q, _, v = heads(3, K, K)
        k = torch.linalg.qr(heads(1, K, K)[0])[0]
        beta = torch.full((B, H, K), 0.7, dtype=torch.float64)
        same(delta_rule(q, k, v, beta)[0], linear_attention(q, k, 0.7 * v)[0])

    @pytest.mark.parametrize("corrected", [False, True])
    @pytest.mark.parametrize("decays", [False, True])
    def test_log_linear_with_equal_weights_is_its_base(self, corrected: bool, decays: bool) -> None:
        q, k, v = heads(3)
        k = normalize(k, dim=-1)
        decay = -heads(1, 1)[0][..., 0].abs() if decays else None
        beta = heads(1, 1)[0][..., 0].sigmoid() if corrected else None
        ones = torch.ones(B, H, T, 7, dtype=torch.float64)
        found, _ = log_linear_attention(q, k, v, ones, beta=beta, log_decay=decay)
        base = linear_attention if beta is None else delta_rule
        given = (q, k, v) if beta is None else (q, k, v, beta)
        same(found, base(*given, log_decay=decay)[0])


class TestSparse:
    """Dense attention, where a pattern leaves all pairs."""

    def test_a_window_over_everything(self) -> None:
        same(
            *twins(
                create_mixer("attention", 24, num_heads=H),
                create_mixer("attention", 24, num_heads=H, window=T),
            )
        )

    @pytest.mark.parametrize(
        "spec", [Window(T, 0), Segments(T, 0) & Causal(), Segments(7, T) & Causal(), Window(5, 0) | Causal()]
    )
    def test_masks_that_leave_all_of_the_past(self, spec: Any) -> None:
        q, k, v = heads(3)
        expected = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        same(sparse_attention(q, k, v, spec), expected)

    @pytest.mark.parametrize(
        ("name", "options"),
        [
            ("segment_attention", {"segment_len": T, "positions": "none"}),
            ("longformer", {"window": T, "positions": "none"}),
            ("diag_attention", {"block_len": T, "positions": "none"}),
        ],
    )
    def test_mixers_whose_pattern_covers_all(self, name: str, options: dict[str, Any]) -> None:
        sparse = create_mixer(name, 24, num_heads=H, **options).double()
        dense = create_mixer("attention", 24, num_heads=H, positions="none").double()
        weights = dict(sparse.state_dict())
        q, k, v = (
            (weights[f"{n}.weight"] for n in "qkv")
            if "q.weight" in weights
            else weights["qkv.weight"].chunk(3)
        )
        dense.load_state_dict(
            {"q.weight": q, "k.weight": k, "v.weight": v, "out.weight": weights["out.weight"]}
        )
        x = torch.randn(B, T, 24, dtype=torch.float64)
        same(sparse(x), dense(x))


class TestHeads:
    def test_one_group_is_multi_query_and_as_many_as_heads_multi_head(self) -> None:
        shared = create_mixer("attention", 24, num_heads=H, num_kv_heads=1).double()
        multi = create_mixer("attention", 24, num_heads=H).double()
        weights = shared.state_dict()
        multi.load_state_dict(
            {n: w.repeat(H, 1) if n in ("k.weight", "v.weight") else w for n, w in weights.items()}
        )
        x = torch.randn(B, T, 24, dtype=torch.float64)
        same(shared(x), multi(x))
        same(*twins(multi, create_mixer("attention", 24, num_heads=H, num_kv_heads=H)))


class TestPositions:
    place = torch.arange(T, dtype=torch.float64)[None]

    def test_shaw_is_a_table_of_relations(self) -> None:
        q, k, _ = heads(3)
        shaw = create_position("shaw", **HEADS, reach=4).double()
        offset = (self.place[0][None] - self.place[0][:, None]).clamp(-4, 4).long() + 4
        table = shaw.on_keys[offset]  # (T, T, K): a vector for each pair
        same(shaw.score(q, k, self.place, self.place), torch.einsum("bhtk,tsk->bhts", q, table) * K**-0.5)

    def test_alibi_is_a_limit_of_fire_and_a_constant_forget_gate(self) -> None:
        alibi = create_position("alibi", **HEADS).double()
        fire = create_position("fire", **HEADS, rate=0.0, linear=True, threshold=1000.0).double()
        with torch.no_grad():
            fire.f.weight.copy_(-1000 * alibi.slopes[:, None])
            fire.f.bias.zero_()
        q, k, _ = heads(3)
        same(fire.score(q, k, self.place, self.place), alibi.score(q, k, self.place, self.place))

        fox = create_mixer("fox", 24, num_heads=H).double()
        with torch.no_grad():
            fox.forget.weight.zero_()
            fox.forget.bias.copy_(-(alibi.slopes.exp() - 1).log())  # sigmoid of it is exp(-slope)
        plain = create_mixer("attention", 24, num_heads=H, positions="alibi").double()
        q_, k_, v_ = fox.qkv.weight.chunk(3)
        plain.load_state_dict(
            {"q.weight": q_, "k.weight": k_, "v.weight": v_, "out.weight": fox.out.weight}, strict=False
        )
        x = torch.randn(B, T, 24, dtype=torch.float64)
        same(fox(x), plain(x))
