"""Attention to parameter tokens: each score by its formula, and growth."""

from __future__ import annotations

import pytest
import torch

from anyformer.layers.pattention import Pattention


@pytest.mark.parametrize("score", ["l2_norm_gelu", "gelu_l2_norm", "softmax"])
def test_it_is_the_formula(score: str) -> None:
    layer = Pattention(5, 3, 7, score=score, scale=1.7).double()
    x = torch.randn(2, 4, 5, dtype=torch.float64)
    a, gelu = x @ layer.keys.T, torch.nn.functional.gelu
    weights = {
        "l2_norm_gelu": gelu(1.7 * a / a.norm(dim=-1, keepdim=True)),
        "gelu_l2_norm": 1.7 * gelu(a) / gelu(a).norm(dim=-1, keepdim=True),
        "softmax": 1.7**2 * a.softmax(-1),
    }[score]
    torch.testing.assert_close(layer(x), weights @ layer.values)


def test_zero_keys_more_change_nothing() -> None:
    """With the scale of the first size, tokens with zero keys and values leave the output as it is."""
    small, grown = Pattention(5, 3, 4).double(), Pattention(5, 3, 6, scale=2.0).double()
    with torch.no_grad():
        for mine, theirs in ((grown.keys, small.keys), (grown.values, small.values)):
            mine.zero_()
            mine[:4] = theirs
    x = torch.randn(3, 5, dtype=torch.float64)
    torch.testing.assert_close(grown(x), small(x))


def test_errors() -> None:
    with pytest.raises(ValueError, match="num_tokens must be at least 1, got 0"):
        Pattention(5, 3, 0)
    with pytest.raises(ValueError, match="unknown score 'softmx'; did you mean 'softmax'"):
        Pattention(5, 3, 2, score="softmx")
