"""What the options of feed-forward networks need."""

from __future__ import annotations

import pytest

from anyformer.channels import create_channel
from anyformer.models import match_parameters
from anyformer.models.spec import ModelSpec


def test_errors() -> None:
    with pytest.raises(ValueError, match="groups must divide 64 and 16 channels, got 5"):
        create_channel("mlp", 16, groups=5)
    with pytest.raises(ValueError, match="preserve_variance needs activation"):
        create_channel("mlp", 16, preserve_variance=True)


def test_sizes_are_found_in_whole_groups() -> None:
    channel = {"name": "mlp", "options": {"activation": "rational"}}
    spec = ModelSpec.model_validate({"layers": "[attention]", "channel": channel})
    found = match_parameters(spec, 40_000, vocab_size=64)
    assert found.channel is not None and found.channel.options.get("hidden_dim", 8) % 8 == 0
