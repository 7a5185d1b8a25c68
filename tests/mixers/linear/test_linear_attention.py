from __future__ import annotations

import pytest
import torch
from torch.nn.functional import elu

from anyformer.layers.heads import merge_heads, split_heads
from anyformer.mixers import create_mixer
from anyformer.state import state_bytes


@pytest.mark.parametrize("causal", [True, False])
def test_it_is_attention_with_a_kernel_for_weights(causal: bool) -> None:
    """Equation 8: the weights of an attention matrix, phi(q) phi(k), each row divided by its sum."""
    mixer = create_mixer("linear_attention", 8, num_heads=2, causal=causal).double()
    x = torch.randn(2, 70, 8, dtype=torch.float64)
    q, k, v = (split_heads(layer(x), 2) for layer in (mixer.q, mixer.k, mixer.v))
    weights = (elu(q) + 1) @ (elu(k) + 1).mT
    weights = weights.tril() if causal else weights
    y = mixer.out(merge_heads(weights / weights.sum(-1, keepdim=True) @ v))
    torch.testing.assert_close(mixer(x), y)


def test_key_dim_sets_the_state() -> None:
    """One more row of state, values and normaliser, for each head and key channel."""
    sizes = [
        state_bytes(create_mixer("linear_attention", 8, num_heads=2, key_dim=K).init_state(1)["own"])
        for K in (1, 2, 9)
    ]
    assert sizes == [4 * 2 * K * (4 + 1) for K in (1, 2, 9)]


def test_a_norm_in_the_place_of_the_denominator() -> None:
    mixer = create_mixer(
        "linear_attention", 8, num_heads=2, feature_map="signed_elu", normalize="rms_norm"
    ).double()
    x = torch.randn(2, 70, 8, dtype=torch.float64)
    q, k, v = (split_heads(layer(x), 2) for layer in (mixer.q, mixer.k, mixer.v))
    y = merge_heads((elu(q) * 0.5 @ elu(k).mT).tril() @ v)
    y = y / (y.square().mean(-1, keepdim=True) + 1e-5).sqrt()
    torch.testing.assert_close(mixer(x), mixer.out(y))


def test_errors() -> None:
    with pytest.raises(ValueError, match="unknown feature_map 'elo'; did you mean 'elu'"):
        create_mixer("linear_attention", 8, feature_map="elo")
    with pytest.raises(ValueError, match="unknown norm 'rmsnorm'; did you mean 'rms_norm'"):
        create_mixer("linear_attention", 8, normalize="rmsnorm")
    with pytest.raises(ValueError, match="normalize must be False or a norm"):
        create_mixer("linear_attention", 8, feature_map="identity")
    with pytest.raises(ValueError, match="key_dim must be at least 1"):
        create_mixer("linear_attention", 8, key_dim=0)
