from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from anyformer.mixers import create_mixer
from anyformer.mixers.sparse._frugal import FrugalAttention
from anyformer.ops.attention import attention


def parts(mixer: FrugalAttention, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    T = x.shape[1]
    q, k, v = (layer(x).reshape(1, T, -1, 8).transpose(1, 2) for layer in (mixer.q, mixer.k, mixer.v))
    return q, k, v


def test_pages_are_chosen_by_their_bounds_for_each_query() -> None:
    options: dict[str, Any] = {"num_heads": 2, "page": 3, "pages": 2, "positions": "none"}
    mixer = create_mixer("page_attention", 16, **options).double().eval()
    x = torch.randn(1, 20, 16, dtype=torch.float64)
    q, k, v = parts(mixer, x)
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


def test_what_the_end_of_the_prompt_weighs_is_kept() -> None:
    options: dict[str, Any] = {"num_heads": 2, "prompt": 10, "window": 3, "keep": 2, "pool": 3}
    mixer = create_mixer("evicting_attention", 16, positions="none", **options).double().eval()
    x = torch.randn(1, 16, 16, dtype=torch.float64)
    q, k, v = parts(mixer, x)
    p = (q @ k.mT / 8**0.5).masked_fill(~torch.ones(16, 16).tril().bool(), -torch.inf).softmax(-1)
    weight = p[0, :, 7:10, :7].sum(1)
    pooled = torch.stack([weight[:, max(0, j - 1) : j + 2].amax(1) for j in range(7)], 1)
    seen = torch.ones(16, 16).tril().bool().expand(1, 2, 16, 16).clone()
    for h in range(2):
        kept = pooled[h].topk(2).indices.tolist()
        forgotten = [j for j in range(7) if j not in kept]
        seen[0, h, 10:, forgotten] = False
    y = attention(q, k, v, visible=seen)
    torch.testing.assert_close(mixer(x), mixer.out(y.transpose(1, 2).flatten(2)))


@pytest.mark.parametrize("name", ["page_attention", "evicting_attention"])
def test_in_training_it_is_attention_with_the_same_weights(name: str) -> None:
    mixer, plain = (create_mixer(n, 16, num_kv_heads=2).double() for n in (name, "attention"))
    plain.load_state_dict(mixer.state_dict())
    x = torch.randn(2, 20, 16, dtype=torch.float64)
    torch.testing.assert_close(mixer.train()(x), plain(x))


@pytest.mark.parametrize(
    "name, options, message",
    [
        ("page_attention", {"page": 0}, "page must be at least 1 and pages not negative, got 0 and 4"),
        ("page_attention", {"causal": False}, "causal=False is not possible for page_attention"),
        ("page_attention", {"positions": "alibi"}, "positions='alibi' do not go with page_attention"),
        ("evicting_attention", {"prompt": 4, "window": 4}, "below prompt=4, keep not negative; got 4 and 48"),
        ("evicting_attention", {"pool": 2}, "pool must be odd, got 2"),
        ("evicting_attention", {"num_kv_heads": 3}, "num_kv_heads must divide num_heads=4, got 3"),
    ],
)
def test_errors(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        create_mixer(name, 16, **options)
