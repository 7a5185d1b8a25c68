"""Vectors of fields: made at once, they are those of a map and a table for each."""

from __future__ import annotations

import pytest
import torch

from anyformer.embed import create_embedder
from anyformer.schema import Field, StreamFacts

FIELDS = [
    Field(name="mass", width=1),
    Field(name="colour", size=4),
    Field(name="place", width=2),
    Field(name="price", width=1),
    Field(name="shape", size=3),
]


@pytest.mark.parametrize("fields", [FIELDS, FIELDS[:1], FIELDS[1:2], FIELDS[::3]])
@pytest.mark.parametrize("shape", ["record", "sequence"])
def test_they_are_those_of_each_field(fields: list[Field], shape: str) -> None:
    torch.manual_seed(0)
    facts, size = StreamFacts(shape=shape, fields=fields), (5,) if shape == "record" else (5, 7)
    values = {
        f.name: torch.randint(f.size, size) if f.width is None else torch.randn(*size, f.width)
        for f in fields
    }
    total = create_embedder("field_sum", facts, 8)
    each = [embed(values[field.name]) for field, embed in zip(fields, total.fields)]
    expected = torch.stack(each).sum(0)
    torch.testing.assert_close(total(values), expected[:, None] if shape == "record" else expected)
    assert total.length(values) == (1 if shape == "record" else 7)
    if shape == "record":
        tokens = create_embedder("field_tokens", facts, 8)
        each = [embed(values[field.name]) for field, embed in zip(fields, tokens.fields)]
        torch.testing.assert_close(tokens(values), torch.stack(each, 1))
