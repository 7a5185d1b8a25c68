"""Widths for a given number of parameters."""

from __future__ import annotations

import pytest

from anyformer.models import (
    create_model,
    load_spec,
    match_parameters,
)
from anyformer.models.size import count_parameters


@pytest.mark.parametrize(
    "name", ["transformer", "retnet", "megabyte", "transformer_xl", "mamba", "s4", "rwkv4"]
)
@pytest.mark.parametrize("target", [30_000, 400_000])
def test_widths_match_a_size_within_two_percent(name: str, target: int) -> None:
    spec = match_parameters(load_spec(name), target, vocab_size=64)
    assert abs(count_parameters(spec, vocab_size=64) / target - 1) <= 0.02
    assert create_model(spec, vocab_size=64).num_parameters() == count_parameters(spec, vocab_size=64)


def test_a_size_that_cannot_be_had() -> None:
    with pytest.raises(ValueError, match="comes within 2% of 10 parameters; the nearest"):
        match_parameters(load_spec("transformer"), 10, vocab_size=1000)
