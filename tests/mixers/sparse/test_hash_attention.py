from __future__ import annotations

import pytest
import torch

from anyformer.mixers import create_mixer
from anyformer.ops.attention import attention
from anyformer.ops.select import hash_buckets


@pytest.mark.parametrize("causal", [True, False])
def test_is_dense_attention_under_the_mask(causal: bool) -> None:
    mixer = create_mixer("hash_attention", 16, num_heads=2, num_buckets=4, causal=causal).double()
    x = torch.randn(2, 23, 16, dtype=torch.float64)
    q, v = (layer(x).reshape(2, 23, 2, 8).transpose(1, 2) for layer in (mixer.q, mixer.v))
    bucket = hash_buckets(q, mixer.directions)
    seen = bucket[..., :, None] == bucket[..., None, :]
    seen = seen & torch.ones(23, 23).tril(-1).bool() if causal else seen
    y = attention(q, q / q.norm(dim=-1, keepdim=True), v, visible=seen)
    torch.testing.assert_close(mixer(x), mixer.out(y.transpose(1, 2).flatten(2)))


def test_the_directions_are_drawn_from_the_seed_alone() -> None:
    first, second, other = (create_mixer("hash_attention", 16, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(first.directions, second.directions)
    assert not torch.equal(first.directions, other.directions)


def test_errors() -> None:
    with pytest.raises(ValueError, match="num_buckets must be even and at least 2, got 5"):
        create_mixer("hash_attention", 16, num_buckets=5)
