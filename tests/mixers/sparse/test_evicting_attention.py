"""Evicting attention: the keys of the prompt that are kept, by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from patterns import heads

from anyformer.mixers import create_mixer
from anyformer.ops.attention import attention


def test_the_keys_that_the_end_of_the_prompt_attends_to_are_kept() -> None:
    options: dict[str, Any] = {"num_heads": 2, "prompt": 10, "window": 3, "keep": 2, "pool": 3}
    mixer = create_mixer("evicting_attention", 16, positions="none", **options).double().eval()
    x = torch.randn(1, 16, 16, dtype=torch.float64)
    q, k, v = heads(mixer, x)
    p = (q @ k.mT / 8**0.5).masked_fill(~torch.ones(16, 16).tril().bool(), -torch.inf).softmax(-1)
    weight = p[0, :, 7:10, :7].sum(1)
    pooled = torch.stack([weight[:, max(0, j - 1) : j + 2].amax(1) for j in range(7)], 1)
    seen = torch.ones(16, 16).tril().bool().expand(1, 2, 16, 16).clone()
    for h in range(2):
        kept = pooled[h].topk(2).indices.tolist()
        evicted = [j for j in range(7) if j not in kept]
        seen[0, h, 10:, evicted] = False
    y = attention(q, k, v, visible=seen)
    torch.testing.assert_close(mixer(x), mixer.out(y.transpose(1, 2).flatten(2)))


@pytest.mark.parametrize(
    "options, message",
    [
        ({"prompt": 4, "window": 4}, "below prompt=4, keep not negative; got 4 and 48"),
        ({"pool": 2}, "pool must be odd, got 2"),
        ({"num_kv_heads": 3}, "num_kv_heads must divide num_heads=4, got 3"),
    ],
)
def test_errors(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        create_mixer("evicting_attention", 16, **options)
