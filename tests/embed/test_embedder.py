"""Sums of fields, and fields as tokens, against their formulas; and in a model."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from anyformer.embed import create_embedder
from anyformer.models import SequenceModel, create_model
from anyformer.schema import Field, StreamFacts

FIELDS = [Field(name="b", width=2), Field(name="a.c", size=5), Field(name="a", width=1)]


@pytest.mark.parametrize("shape", ["sequence", "record"])
def test_formula(shape: str) -> None:
    facts = StreamFacts.model_validate({"shape": shape, "fields": FIELDS})
    embed = create_embedder(facts, 8).double()
    values = facts.example(3, 7)
    values = {name: v.double() if v.is_floating_point() else v for name, v in values.items()}
    numbers, table, one = embed.fields
    parts = [
        values["b"] @ numbers.weight.T + numbers.bias,
        table.weight[values["a.c"]],
        values["a"] @ one.weight.T + one.bias,
    ]
    expected = torch.stack(parts, 1) if shape == "record" else sum(parts)
    torch.testing.assert_close(embed(values), expected)


def test_fields_begin_with_the_same_weight() -> None:
    torch.manual_seed(0)
    embed = create_embedder(StreamFacts(shape="record", fields=[*FIELDS[1:]]), 512)
    x = embed({"a.c": torch.randint(5, (4096,)), "a": torch.randn(4096, 1)})
    category, number = x.square().mean((0, 2)).tolist()
    assert 0.5 < category / number < 2


@pytest.mark.parametrize("shape", ["sequence", "record"])
def test_models_of_fields_are_saved_with_their_order(shape: str, tmp_path: Path) -> None:
    facts = StreamFacts.model_validate({"shape": shape, "fields": FIELDS})
    model = create_model("mamba", stream=facts.model_dump(), num_outputs=3, pool="mean", dim=16).eval()
    values = model.example(2, 6)
    assert isinstance(values, dict) and model(values).shape == (2, 3)
    model.save_pretrained(tmp_path)
    again = SequenceModel.from_pretrained(tmp_path, strict=True).eval()
    assert torch.equal(again(values), model(values))


def test_one_way_in() -> None:
    with pytest.raises(ValueError, match="num_outputs must be given for a model of features or fields"):
        create_model("mamba", stream={"fields": FIELDS})
    with pytest.raises(ValueError, match="x must be a tensor, got dict"):
        create_model("mamba", vocab_size=3, dim=8)({"a": torch.zeros(1, 1)})
    model = create_model("mamba", stream={"fields": FIELDS}, num_outputs=1, dim=8)
    with pytest.raises(ValueError, match="x must be a dict of the fields 'b', 'a.c', 'a', got Tensor"):
        model(torch.zeros(1, 1))
