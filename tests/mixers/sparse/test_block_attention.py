"""Block attention: the keys that each query sees, by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from patterns import T, dense, pairs

from anyformer.mixers import create_mixer


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
        ({"block": 5, "stagger": True}, "block must be positive, and even with stagger=True, got 5"),
        ({"num_global": 2}, "num_global must be 0 with causal=True"),
    ],
)
def test_block_attention_errors(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        create_mixer("block_attention", 16, **options)
