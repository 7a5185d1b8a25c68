"""Page attention: the pages that each query reads, by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from patterns import heads

from anyformer.mixers import create_mixer
from anyformer.ops.attention import attention


def test_pages_are_chosen_by_their_bounds_for_each_query() -> None:
    options: dict[str, Any] = {"num_heads": 2, "page": 3, "pages": 2, "positions": "none"}
    mixer = create_mixer("page_attention", 16, **options).double().eval()
    x = torch.randn(1, 20, 16, dtype=torch.float64)
    q, k, v = heads(mixer, x)
    seen = torch.zeros(1, 2, 20, 20, dtype=torch.bool)
    for h in range(2):
        for i in range(20):
            bounds = {}
            for page in range(i // 3):
                keys = k[0, h, page * 3 : page * 3 + 3]
                bound = torch.maximum(q[0, h, i] * keys.amin(0), q[0, h, i] * keys.amax(0)).sum()
                bounds[page] = float(bound.detach())
            best = sorted(bounds, key=lambda page: -bounds[page])[:2]
            for page in [*best, i // 3]:
                seen[0, h, i, page * 3 : min(page * 3 + 3, i + 1)] = True
    y = attention(q, k, v, visible=seen)
    torch.testing.assert_close(mixer(x), mixer.out(y.transpose(1, 2).flatten(2)))


@pytest.mark.parametrize(
    "options, message",
    [
        ({"page": 0}, "page must be at least 1 and pages not negative, got 0 and 4"),
        ({"causal": False}, "causal=False is not possible for page_attention"),
        ({"positions": "alibi"}, "positions='alibi' do not go with page_attention"),
    ],
)
def test_errors(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        create_mixer("page_attention", 16, **options)
