"""The factors of the Sparse Transformer: the keys that each query sees, by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from patterns import T, dense, pairs

from anyformer.mixers import create_mixer


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
