from __future__ import annotations

import pytest
import torch

from anyformer.convert.heads import group_heads
from anyformer.mixers.softmax.attention import Attention
from anyformer.models import create_model


def test_heads_are_averaged_in_neighbouring_groups() -> None:
    model = create_model("[attention(num_heads=4, bias=true), mamba] dim=16", vocab_size=5)
    new = group_heads(model, 2)
    assert str(new.spec.layers[0]) == "attention(num_heads=4, bias=true, num_kv_heads=2)"
    old, grouped = (next(m for m in x.modules() if isinstance(m, Attention)) for x in (model, new))
    heads = old.k.weight.unflatten(0, (4, 4))
    torch.testing.assert_close(grouped.k.weight[4:], (heads[2] + heads[3]) / 2)
    torch.testing.assert_close(grouped.v.bias[:4], (old.v.bias[:4] + old.v.bias[4:8]) / 2)
    torch.testing.assert_close(grouped.q.weight, old.q.weight)


@pytest.mark.parametrize("part", ["attention", "key_driven_attention"])
def test_equal_heads_lose_nothing(part: str) -> None:
    model = create_model("[attention]*2 dim=16 causal=false", vocab_size=5).double()
    with torch.no_grad():
        for m in model.modules():
            if isinstance(m, Attention):
                for layer in (m.k, m.v):
                    layer.weight.copy_(
                        layer.weight.unflatten(0, (2, 2, 4))[:, :1].repeat(1, 2, 1, 1).flatten(0, 2)
                    )
    x = torch.randint(5, (2, 9))
    torch.testing.assert_close(group_heads(model, 2, part=part)(x), model(x))


def test_errors() -> None:
    model = create_model("[attention] dim=16", vocab_size=5)
    with pytest.raises(ValueError, match="num_kv_heads must divide the 4 of attention, got 3"):
        group_heads(model, 3)
    with pytest.raises(ValueError, match="part must be one of attention, key_driven_attention, got 'mamba'"):
        group_heads(model, 2, part="mamba")
    with pytest.raises(ValueError, match="model must have layers of attention, got none"):
        group_heads(create_model("[mamba] dim=16", vocab_size=5), 2)
