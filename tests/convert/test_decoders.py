"""Configs of language models of transformers, as specs."""

from __future__ import annotations

import pytest

from anyformer.convert import key_map
from anyformer.convert.decoders import DECODERS


def test_rope_of_older_configs() -> None:
    sizes = {"hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 8, "num_hidden_layers": 1}
    config = {
        "model_type": "llama",
        **sizes,
        "rope_theta": 5e5,
        "rope_scaling": {"type": "linear", "factor": 2},
    }
    positions = DECODERS["llama"].spec(config)["positions"]
    assert positions == {"name": "rope", "options": {"base": 5e5, "stretch": 2.0}}


@pytest.mark.parametrize("kind", DECODERS)
def test_poor_config(kind: str) -> None:
    with pytest.raises(ValueError, match=f"config.json of a '{kind}' model must have '"):
        key_map({"model_type": kind})
