"""Mixers that read a part of the keys in evaluation are plain attention in training."""

from __future__ import annotations

import pytest
import torch

from anyformer.mixers import create_mixer


@pytest.mark.parametrize("name", ["page_attention", "evicting_attention"])
def test_in_training_it_is_attention_with_the_same_weights(name: str) -> None:
    mixer, plain = (create_mixer(n, 16, num_kv_heads=2).double() for n in (name, "attention"))
    plain.load_state_dict(mixer.state_dict())
    x = torch.randn(2, 20, 16, dtype=torch.float64)
    torch.testing.assert_close(mixer.train()(x), plain(x))
