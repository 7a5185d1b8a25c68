"""Heads with different mask specs in one mixer, by hand."""

from __future__ import annotations

import torch
from patterns import T, dense, pairs

from anyformer.mixers import create_mixer


def test_heads_of_their_own_patterns() -> None:
    """Half of the heads are local; the others take sub-blocks in turn, from a block's end back."""
    options = {"pattern": "fixed", "stride": 6, "summary": 1, "part": "heads", "subblocks": 3}
    mixer = create_mixer("sparse_attention", 24, num_heads=8, positions="none", causal=False, **options)
    mixer = mixer.double()
    local = pairs(lambda i, j: i // 6 == j // 6)
    far = [pairs(lambda i, j, s=s: j % 6 == 5 - s) for s in (0, 1, 2, 0)]
    x = torch.randn(2, T, 24, dtype=torch.float64)
    torch.testing.assert_close(mixer(x), dense(mixer, x, torch.stack([local] * 4 + far)))
