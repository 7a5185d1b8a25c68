"""Heads: split and merged, and the widths that are refused."""

from __future__ import annotations

import pytest
import torch

from anyformer.layers.heads import head_width, key_heads, merge_heads, split_heads


def test_a_head_is_adjacent_channels() -> None:
    x = torch.randn(2, 5, 12)
    heads = split_heads(x, 3)
    assert heads.shape == (2, 3, 5, 4)
    assert torch.equal(heads[:, 1], x[:, :, 4:8])
    assert torch.equal(merge_heads(heads), x)


def test_widths() -> None:
    assert head_width(12, 3, None) == 4
    assert head_width(12, 5, 7) == 7
    assert key_heads(6, None) == 6
    assert key_heads(6, 3) == 3
    with pytest.raises(ValueError, match="num_heads must be at least 1, got 0"):
        head_width(12, 0, None)
    with pytest.raises(ValueError, match=r"num_heads must divide dim=12 \(or give head_dim\), got 5"):
        head_width(12, 5, None)
    with pytest.raises(ValueError, match="key_dim must be at least 1, got 0"):
        head_width(12, 3, 0, "key_dim")
    for given in (4, 0, -1):
        with pytest.raises(ValueError, match=f"num_kv_heads must divide num_heads=6, got {given}"):
            key_heads(6, given)
