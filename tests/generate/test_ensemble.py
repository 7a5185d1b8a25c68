"""Averages over random parts of one model."""

from __future__ import annotations

import pytest
import torch

from anyformer.generate.ensemble import self_ensemble
from anyformer.models import create_model


def test_the_ensemble_averages_the_draws_and_layers_draw_apart() -> None:
    model = create_model("[subsampled_attention(keep=0.5)]*2 dim=16", vocab_size=5).eval()
    x = torch.randint(5, (2, 12))
    single = [self_ensemble(model, x, 1, seed=seed) for seed in (3, 4)]
    torch.testing.assert_close(self_ensemble(model, x, 2, seed=3), (single[0] + single[1]) / 2)
    assert not torch.equal(single[0], single[1])


def test_models_without_draws_and_no_draws_are_refused() -> None:
    x = torch.randint(5, (2, 12))
    with pytest.raises(ValueError, match="model must have layers that see a random part"):
        self_ensemble(create_model("transformer depth=1 dim=16", vocab_size=5), x, 2)
    model = create_model("[subsampled_attention]*1 dim=16", vocab_size=5)
    with pytest.raises(ValueError, match="passes must be at least 1, got 0"):
        self_ensemble(model, x, 0)
