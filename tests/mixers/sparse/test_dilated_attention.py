"""Dilated attention: the keys that each head sees, by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from patterns import T, heads, pairs

from anyformer.mixers import create_mixer


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
