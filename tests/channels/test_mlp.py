"""What the options of feed-forward networks need."""

from __future__ import annotations

import pytest
import torch

from anyformer.channels import create_channel
from anyformer.laws.measures import close
from anyformer.layers.grouped import GroupedLinear
from anyformer.models import match_parameters
from anyformer.models.spec import ModelSpec


def test_errors() -> None:
    with pytest.raises(ValueError, match="groups must divide 64 and 16 channels, got 5"):
        create_channel("mlp", 16, groups=5)
    with pytest.raises(ValueError, match="preserve_variance needs activation"):
        create_channel("mlp", 16, preserve_variance=True)


def test_the_first_glu_is_pytorchs() -> None:
    glu = create_channel("glu", 8, hidden_dim=6)
    glu.down = torch.nn.Identity()
    x = torch.randn(2, 3, 8)
    both = torch.cat([glu.up(x), glu.gate(x)], -1)
    close("glu", glu(x), torch.nn.functional.glu(both), 1e-6)


def test_grouped_linear() -> None:
    layer = GroupedLinear(8, 12, 4).double()
    x = torch.randn(3, 8, dtype=torch.float64)
    close("dense", layer(x), torch.nn.functional.linear(x, layer.dense(), layer.bias))
    assert layer.weight.numel() * 4 == 8 * 12


def test_sizes_are_found_in_whole_groups() -> None:
    channel = {"name": "mlp", "options": {"activation": "rational"}}
    spec = ModelSpec.model_validate({"layers": "[attention]", "channel": channel})
    found = match_parameters(spec, 40_000, vocab_size=64)
    assert found.channel is not None and found.channel.options.get("hidden_dim", 8) % 8 == 0
