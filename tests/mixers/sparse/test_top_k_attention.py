from __future__ import annotations

from typing import Any

import pytest
import torch

import anyformer.ops.select as select
from anyformer.mixers import create_mixer
from anyformer.ops.attention import attention


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("top", [1, 4, 50])
def test_is_dense_attention_to_the_best_keys(monkeypatch: pytest.MonkeyPatch, causal: bool, top: int) -> None:
    monkeypatch.setattr(select, "TILE_ELEMENTS", 600)  # blocks of seven queries
    options: dict[str, Any] = {"num_heads": 4, "num_kv_heads": 2, "positions": "none", "causal": causal}
    mixer = create_mixer("top_k_attention", 16, top=top, **options).double().eval()
    x = torch.randn(1, 20, 16, dtype=torch.float64)
    q, k, v = (layer(x).reshape(1, 20, -1, 4).transpose(1, 2) for layer in (mixer.q, mixer.k, mixer.v))
    scores = q @ k.repeat_interleave(2, 1).mT
    scores = scores.masked_fill(~torch.ones(20, 20).tril().bool(), -torch.inf) if causal else scores
    rank = scores.argsort(-1, descending=True).argsort(-1)
    y = attention(q, k, v, visible=(rank < top) & (scores > -torch.inf))
    torch.testing.assert_close(mixer(x), mixer.out(y.transpose(1, 2).flatten(2)))
    plain = create_mixer("attention", 16, **options).double()
    plain.load_state_dict(mixer.state_dict())
    torch.testing.assert_close(mixer.train()(x), plain(x))


def test_errors() -> None:
    with pytest.raises(ValueError, match="top must be at least 1, got 0"):
        create_mixer("top_k_attention", 16, top=0)
    with pytest.raises(ValueError, match="positions='alibi' do not go with top_k_attention"):
        create_mixer("top_k_attention", 16, positions="alibi")
