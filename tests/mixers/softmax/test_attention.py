"""What attention's options say, by hand."""

from __future__ import annotations

import pytest
import torch

from anyformer.contract import Call
from anyformer.layers.heads import split_heads
from anyformer.mixers import create_mixer
from anyformer.mixers.softmax.attention import Attention


def parts(mixer: Attention, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """q, k and v for every query head, without positions."""
    q = split_heads(mixer.q(x), mixer.num_heads)
    k, v = (split_heads(layer(x), mixer.num_kv_heads) for layer in (mixer.k, mixer.v))
    repeat = mixer.num_heads // mixer.num_kv_heads
    return q, k.repeat_interleave(repeat, 1), v.repeat_interleave(repeat, 1)


@pytest.mark.parametrize("length", [None, 7])
@pytest.mark.parametrize("causal", [True, False])
def test_sigmoid_weighs_each_key_on_its_own(length: int | None, causal: bool) -> None:
    options = {"normalizer": "sigmoid", "normalizer_length": length, "positions": "none", "causal": causal}
    mixer = create_mixer("attention", 16, **options).double()
    x, rows = torch.randn(2, 9, 16, dtype=torch.float64), []
    q, k, v = parts(mixer, x)
    for i in range(9):
        seen = i + 1 if causal else 9
        scores = torch.einsum("bhk,bhsk->bhs", q[:, :, i], k[:, :, :seen]) / 2
        p = 1 / (1 + (length or seen) * (-scores).exp())
        rows.append(torch.einsum("bhs,bhsv->bhv", p, v[:, :, :seen]).flatten(1))
    torch.testing.assert_close(mixer(x), mixer.out(torch.stack(rows, 1)), rtol=1e-9, atol=1e-9)


def test_sigmoid_counts_real_keys_and_members_of_a_set_only() -> None:
    """Padding and other members of a set change neither the weights nor the n of their level."""
    mixer = create_mixer("attention", 16, normalizer="sigmoid", positions="none", causal=False).double()
    x, mask = torch.randn(1, 9, 16, dtype=torch.float64), torch.arange(9)[None] < 5
    torch.testing.assert_close(mixer(x, mask=mask)[:, :5], mixer(x[:, :5]))
    part = torch.tensor([[1, 1, 1, 1, 1, 2, 2, 2, 2]])
    torch.testing.assert_close(mixer(x, call=Call(side={"part": part}))[:, :5], mixer(x[:, :5]))


@pytest.mark.parametrize("positions", ["none", "rope", "t5"])
def test_memories_stand_beside_the_tokens_at_no_position(positions: str) -> None:
    mixer = create_mixer("attention", 16, num_memories=3, num_kv_heads=2, positions=positions).double()
    x, rows = torch.randn(2, 9, 16, dtype=torch.float64), []
    q, k, v = parts(mixer, x)
    place = torch.arange(9.0, dtype=torch.float64).expand(2, 9)
    turned, k = mixer.positions.rotate(q, k, place)
    bias = mixer.positions.score(turned, k, place, place)
    mk, mv = (
        m.repeat_interleave(2, 0).expand(2, -1, -1, -1) for m in (2 * mixer.memory_k, 3**0.5 * mixer.memory_v)
    )
    for i in range(9):
        near = torch.einsum("bhk,bhsk->bhs", turned[:, :, i], k[:, :, : i + 1]) / 2
        near = near if bias is None else near + bias[:, :, i, : i + 1]
        scores = torch.cat([torch.einsum("bhk,bhsk->bhs", q[:, :, i], mk) / 2, near], -1)
        values = torch.cat([mv, v[:, :, : i + 1]], 2)
        rows.append(torch.einsum("bhs,bhsv->bhv", scores.softmax(-1), values).flatten(1))
    torch.testing.assert_close(mixer(x), mixer.out(torch.stack(rows, 1)), rtol=1e-9, atol=1e-9)


def test_convolutions_stand_behind_the_projections_and_are_shared_by_heads() -> None:
    mixer = create_mixer("attention", 16, conv_width=3, num_kv_heads=2, positions="none").double()
    assert mixer.convs["q"].weight.shape == (4, 3)
    with torch.no_grad():
        for conv in mixer.convs.values():
            conv.weight.add_(torch.randn_like(conv.weight))
    x, found = torch.randn(2, 9, 16, dtype=torch.float64), []
    for name, layer in (("q", mixer.q), ("k", mixer.k), ("v", mixer.v)):
        y, weight = layer(x).unflatten(-1, (-1, 4)), mixer.convs[name].weight
        before = torch.nn.functional.pad(y, (0, 0, 0, 0, 2, 0))
        y = sum(before[:, i : i + 9] * weight[:, i] for i in range(3))
        found.append(y.transpose(1, 2).repeat_interleave(4 // y.shape[2], 1))
    y = torch.nn.functional.scaled_dot_product_attention(*found, is_causal=True)
    torch.testing.assert_close(mixer(x), mixer.out(y.transpose(1, 2).flatten(2)), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"normalizer": "sigmoidal"}, "unknown normalizer 'sigmoidal'; did you mean 'sigmoid'"),
        ({"normalizer_length": 4}, "normalizer_length must be None, or at least 1 with 'sigmoid'; got 4"),
        ({"normalizer": "sigmoid", "window": 4}, "normalizer='sigmoid' goes with neither window nor num_mem"),
        ({"normalizer": "sigmoid", "num_memories": 4}, "normalizer='sigmoid' goes with neither window nor"),
        ({"num_memories": -1}, "num_memories must not be negative"),
        ({"num_memories": 2, "positions": "urpe"}, "0 with positions that change weights; got 2"),
        ({"conv_width": 3, "causal": False}, "conv_width must be 0 with causal=False, got 3"),
        (
            {"conv_width": 3, "reuses_kv": "a"},
            "reuses_kv goes with neither window, provides_kv nor conv_width",
        ),
    ],
)
def test_errors(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        create_mixer("attention", 16, **options)
