from __future__ import annotations

import pytest
import torch

from anyformer.layers.heads import merge_heads
from anyformer.mixers import create_mixer


@pytest.mark.parametrize("weights", ["softmax", "relu"])
@pytest.mark.parametrize("causal", [True, False])
def test_block_by_block(weights: str, causal: bool) -> None:
    """Each block is attention alone; the last one is shorter."""
    mixer = create_mixer(
        "diag_attention", 8, num_heads=2, block_len=4, weights=weights, causal=causal, positions="none"
    ).double()
    x = torch.randn(2, 11, 8, dtype=torch.float64)
    parts = []
    for block in x.split(4, 1):
        q, k, v = (t.unflatten(-1, (2, 4)).transpose(1, 2) for t in mixer.qkv(block).chunk(3, -1))
        scores = q @ k.mT / 2
        seen = torch.ones_like(scores, dtype=torch.bool)
        seen = seen.tril() if causal else seen
        if weights == "softmax":
            matrix = scores.masked_fill(~seen, -torch.inf).softmax(-1)
        else:
            matrix = scores.relu() * seen
        y = merge_heads(matrix @ v)
        parts.append(mixer.out(y if mixer.norm is None else mixer.norm(y)))
    torch.testing.assert_close(mixer(x), torch.cat(parts, 1))


def test_the_state_ends_with_the_block() -> None:
    """After a full block nothing is held, and the next token is as if it were the first."""
    mixer = create_mixer("diag_attention", 8, num_heads=2, block_len=4, positions="none").double()
    x = torch.randn(1, 5, 8, dtype=torch.float64)
    _, state = mixer.stream(x[:, :4], mixer.init_state(1, dtype=torch.float64))
    assert not state["own"]["k"].any()
    torch.testing.assert_close(mixer.stream(x[:, 4:], state)[0], mixer(x[:, 4:]))


def test_errors() -> None:
    with pytest.raises(ValueError, match="block_len must be at least 1, got 0"):
        create_mixer("diag_attention", 8, block_len=0)
    with pytest.raises(ValueError, match="unknown weights 'rel'; did you mean 'relu'"):
        create_mixer("diag_attention", 8, weights="rel")
    with pytest.raises(ValueError, match="positions must rotate queries and keys, or be 'none', got 'alibi'"):
        create_mixer("diag_attention", 8, positions="alibi")
