"""Models that are grown keep their outputs."""

from __future__ import annotations

import pytest
import torch

from anyformer.convert import grow_heads, grow_tokens
from anyformer.models import create_model


def test_a_larger_state_begins_with_the_same_outputs() -> None:
    model = create_model("[rwkv7(num_heads=2), attention] dim=16", vocab_size=9).double()
    tokens = torch.randint(9, (2, 12))
    grown = grow_heads(model, 3)
    torch.testing.assert_close(grown(tokens), model(tokens))
    assert grown.num_parameters() > model.num_parameters()
    with pytest.raises(ValueError, match="rwkv7 parts of at most num_heads=1"):
        grow_heads(model, 1)


@pytest.mark.parametrize("channel", ["pattention(hidden_dim=8)", "mlp"])
def test_more_parameter_tokens_begin_with_the_same_outputs(channel: str) -> None:
    model = create_model(f"[tokenformer] dim=16 channel={channel}", vocab_size=9).double()
    tokens = torch.randint(9, (2, 12))
    grown = grow_tokens(model, 3)
    torch.testing.assert_close(grown(tokens), model(tokens))
    assert grown.num_parameters() > model.num_parameters()
    assert not torch.allclose(grow_tokens(model, 3, keep_scale=False)(tokens), model(tokens))


def test_models_without_parameter_tokens_are_refused() -> None:
    model = create_model("[attention] dim=16", vocab_size=9)
    with pytest.raises(ValueError, match="factor must be at least 1, got 0"):
        grow_tokens(model, 0)
    with pytest.raises(ValueError, match="model must have parameter tokens with scores other than softmax"):
        grow_tokens(model, 2)
