"""Fields are checked before they are embedded, each mistake in one sentence."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from anyformer.schema import Field, StreamFacts

IMAGE = StreamFacts(shape="grid", size=(4, 6), fields=[Field(name="pixels", width=3)])
EVENTS = StreamFacts(fields=[Field(name="amount", width=2), Field(name="kind", size=5)])


def test_examples_pass_the_check() -> None:
    for facts in (EVENTS, EVENTS.model_copy(update={"shape": "record"})):
        values = facts.example(3, 7, torch.Generator().manual_seed(0))
        facts.check(values)
        assert facts.length(values) == (2 if facts.shape == "record" else 7)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": None}, "x must be a dict of the fields 'amount', 'kind', got 'amount'"),
        ({"more": torch.zeros(3, 7)}, "got 'amount', 'kind', 'more'"),
        ({"kind": torch.full((3, 7), 5)}, "field 'kind' of x must hold categories from 0 to 4, got 5 to 5"),
        (
            {"kind": torch.zeros(3, 7)},
            r"must be categories \(batch, time\) of int64, got \(3, 7\) torch.float32",
        ),
        ({"amount": torch.zeros(3, 7, 1)}, r"must be numbers \(batch, time, 2\) of float, got \(3, 7, 1\)"),
        ({"kind": torch.zeros(3, 6, dtype=torch.int64)}, r"as many elements, got \[\(3, 6\), \(3, 7\)\]"),
    ],
)
def test_wrong_values(change: dict[str, torch.Tensor | None], message: str) -> None:
    values = {**EVENTS.example(3, 7), **change}
    with pytest.raises(ValueError, match=message):
        EVENTS.check({name: value for name, value in values.items() if value is not None})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ([{"name": "a"}], "field 'a' must have a positive size or width, got None and None"),
        ([{"name": "a", "size": 3, "width": 1}], "got 3 and 1"),
        ([{"name": "a", "size": 0}], "got 0 and None"),
        ([], "at least 1 item"),
        ([{"name": "a", "size": 3}, {"name": "a", "width": 1}], "must have different names"),
    ],
)
def test_wrong_fields(fields: list[dict[str, object]], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        StreamFacts.model_validate({"fields": fields})


def test_grids_have_sides_of_their_own() -> None:
    values = IMAGE.example(3, 7, torch.Generator().manual_seed(0))
    IMAGE.check(values)
    assert values["pixels"].shape == (3, 4, 6, 3) and IMAGE.length(values) == 24
    with pytest.raises(
        ValueError, match=r"numbers \(batch, 4, 6, 3\) of float, got \(3, 6, 4, 3\) torch.float32"
    ):
        IMAGE.check({"pixels": values["pixels"].transpose(1, 2)})
    with pytest.raises(
        ValueError, match=r"numbers \(batch, 4, 6, 3\) of float, got \(3, 4, 6\) torch.float32"
    ):
        IMAGE.check({"pixels": values["pixels"][..., 0]})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shape": "grid"}, "size must be the positive lengths of a grid's axes, got None for a grid"),
        ({"shape": "grid", "size": [4, 0]}, r"got \(4, 0\) for a grid"),
        ({"size": [4, 6]}, r"got \(4, 6\) for a sequence"),
        ({"shape": "grid", "size": [4], "fields": [{"name": "a", "size": 3}]}, "of a grid must be numbers"),
    ],
)
def test_wrong_grids(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        StreamFacts.model_validate({"fields": [{"name": "a", "width": 3}], **change})
