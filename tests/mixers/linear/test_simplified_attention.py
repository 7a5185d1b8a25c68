from __future__ import annotations

import pytest
import torch

from anyformer.mixers import create_mixer


def test_without_its_local_term_it_is_linear_attention_with_relu() -> None:
    mixer = create_mixer("simplified_attention", 8, num_heads=2, causal=False).double()
    plain = create_mixer("linear_attention", 8, num_heads=2, feature_map="relu", causal=False).double()
    with torch.no_grad():
        mixer.taps.zero_()
        mixer.out.bias.zero_()
    plain.load_state_dict({k: v for k, v in mixer.state_dict().items() if k in plain.state_dict()})
    x = torch.randn(2, 11, 8, dtype=torch.float64)
    torch.testing.assert_close(mixer(x), plain(x))


def test_errors() -> None:
    with pytest.raises(ValueError, match="causal=True is not possible for simplified_attention"):
        create_mixer("simplified_attention", 8)
    with pytest.raises(ValueError, match="width must be odd, got 4"):
        create_mixer("simplified_attention", 8, width=4, causal=False)
