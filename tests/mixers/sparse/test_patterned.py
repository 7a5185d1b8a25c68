"""Mixers of fixed patterns: what each query sees, by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from anyformer.contract import Mixer
from anyformer.mixers import create_mixer

T = 19


def heads(mixer: Mixer, x: Tensor) -> list[Tensor]:
    """Queries, keys and values (B, H, T, K)."""
    return [
        part(x).unflatten(2, (mixer.num_heads, -1)).transpose(1, 2) for part in (mixer.q, mixer.k, mixer.v)
    ]


def dense(mixer: Mixer, x: Tensor, seen: Tensor) -> Tensor:
    """The mixer's output where each head sees the pairs (T, T) or (H, T, T) of ``seen``."""
    q, k, v = heads(mixer, x)
    scores = (q @ k.mT / q.shape[3] ** 0.5).masked_fill(~seen, -torch.inf)
    return mixer.out((scores.softmax(-1) @ v).transpose(1, 2).flatten(2))


def pairs(rule: Any) -> Tensor:
    return torch.tensor([[rule(i, j) for j in range(T)] for i in range(T)])


@pytest.mark.parametrize(
    "options, rule",
    [
        ({"stride": 4}, lambda i, j: j <= i and (i - j < 4 or (i - j) % 4 == 0)),
        ({"stride": 4, "part": "local"}, lambda i, j: 0 <= i - j < 4),
        ({"stride": 4, "part": "far"}, lambda i, j: j <= i and (i - j) % 4 == 0),
        ({"stride": 5, "causal": False}, lambda i, j: abs(i - j) < 5 or (i - j) % 5 == 0),
        (
            {"pattern": "fixed", "stride": 6, "summary": 2},
            lambda i, j: j <= i and (i // 6 == j // 6 or j % 6 >= 4),
        ),
        ({"pattern": "fixed", "stride": 6, "part": "far", "causal": False}, lambda i, j: j % 6 >= 2),
    ],
)
def test_sparse_attention_sees(options: dict[str, Any], rule: Any) -> None:
    mixer = create_mixer("sparse_attention", 16, positions="none", **options).double()
    x = torch.randn(2, T, 16, dtype=torch.float64)
    torch.testing.assert_close(mixer(x), dense(mixer, x, pairs(rule)))


def test_heads_of_their_own_patterns() -> None:
    """Half of the heads are local; the others take sub-blocks in turn, from a block's end back."""
    options = {"pattern": "fixed", "stride": 6, "summary": 1, "part": "heads", "subblocks": 3}
    mixer = create_mixer("sparse_attention", 24, num_heads=8, positions="none", causal=False, **options)
    mixer = mixer.double()
    local = pairs(lambda i, j: i // 6 == j // 6)
    far = [pairs(lambda i, j, s=s: j % 6 == 5 - s) for s in (0, 1, 2, 0)]
    x = torch.randn(2, T, 24, dtype=torch.float64)
    torch.testing.assert_close(mixer(x), dense(mixer, x, torch.stack([local] * 4 + far)))


@pytest.mark.parametrize(
    "options, message",
    [
        ({"pattern": "random"}, "pattern must be 'strided' or 'fixed', got 'random'"),
        ({"part": "near"}, "part must be one of local, far, merged, heads, got 'near'"),
        ({"stride": 1}, "stride must be at least 2, got 1"),
        ({"subblocks": 2}, "subblocks must be 1 with pattern='strided', got 2"),
        ({"pattern": "fixed", "stride": 4, "summary": 3, "subblocks": 2}, "between 1 and stride=4, got 3"),
        ({"part": "heads", "num_heads": 1}, "num_heads must be at least 2 with part='heads', got 1"),
        ({"part": "heads", "positions": "alibi"}, "positions='alibi' make scores for all heads at once"),
    ],
)
def test_sparse_attention_errors(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        create_mixer("sparse_attention", 16, **options)


def test_dilated_attention_takes_heads_in_turn() -> None:
    mixer = create_mixer("dilated_attention", 20, num_heads=5, segments="6/1+12/3", positions="none")
    mixer = mixer.double()
    x = torch.randn(2, T, 20, dtype=torch.float64)
    own = pairs(lambda i, j: i // 6 == j // 6 and j <= i)
    far = torch.stack(
        [pairs(lambda i, j, h=h: i // 12 == j // 12 and i % 3 == j % 3 == h % 3 and j <= i) for h in range(5)]
    )
    q, k, v = heads(mixer, x)
    weights = (q @ k.mT / 2).exp() * (own.double() + far.double())
    expected = mixer.out((weights @ v / weights.sum(-1, keepdim=True)).transpose(1, 2).flatten(2))
    torch.testing.assert_close(mixer(x), expected)


@pytest.mark.parametrize("segments", ["8/2", "8/3+4/1", "8", "", [(8, 1, 1)], "a/1", "4/0"])
def test_dilated_attention_errors(segments: Any) -> None:
    with pytest.raises(ValueError, match="segments must be lengths with rates that divide them"):
        create_mixer("dilated_attention", 16, segments=segments)


@pytest.mark.parametrize("stagger, num_global", [(False, 0), (True, 0), (False, 3), (True, 3)])
def test_block_attention_sees_its_block_and_globals(stagger: bool, num_global: int) -> None:
    mixer = create_mixer(
        "block_attention",
        16,
        block=6,
        stagger=stagger,
        num_global=num_global,
        causal=False,
        positions="none",
    )
    mixer = mixer.double()

    def block(i: int) -> int:
        return (i - num_global + 3 * stagger) // 6

    seen = pairs(lambda i, j: block(i) == block(j) or min(i, j) < num_global)
    x = torch.randn(2, T, 16, dtype=torch.float64)
    torch.testing.assert_close(mixer(x), dense(mixer, x, seen))
    if num_global:
        mixer.global_scale.data, mixer.global_shift.data = torch.randn(2, 16, dtype=torch.float64)
        changed = torch.cat([x[:, :3] * mixer.global_scale + mixer.global_shift, x[:, 3:]], 1)
        torch.testing.assert_close(mixer(x), dense(mixer, changed, seen))


@pytest.mark.parametrize(
    "options, message",
    [
        ({"block": 5, "stagger": True}, "block must be positive, and even where it staggers, got 5"),
        ({"num_global": 2}, "num_global must be 0 with causal=True"),
    ],
)
def test_block_attention_errors(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        create_mixer("block_attention", 16, **options)


def test_transient_global_without_a_whole_block_is_local() -> None:
    """Nothing to sum: what is left is attention in a window with T5's biases, unless masked tokens count."""
    mixer = create_mixer("transient_global", 16, window=3, block=T, causal=False).double()
    biased = {"name": "t5", "bidirectional": True}
    local = create_mixer("attention", 16, window=3, causal=False, positions=biased).double()
    weights = {k.replace("near.", "positions."): v for k, v in mixer.state_dict().items()}
    local.load_state_dict(weights, strict=False)
    x, mask = torch.randn(2, T, 16, dtype=torch.float64), torch.ones(2, T, dtype=torch.bool)
    mask[1, 3] = False
    y = mixer(x, mask=mask)
    torch.testing.assert_close(y[1], local(x, mask=mask)[1])
    assert not torch.allclose(y[0], local(x)[0])
    with pytest.raises(ValueError, match="causal=True is not possible for transient_global"):
        create_mixer("transient_global", 16, causal=True)
