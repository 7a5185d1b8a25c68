"""Against numbers of the original Mega; see data/make_mega.py for how they were made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from anyformer.layers.ema import DampedEMA

RECORDS: dict[str, Any] = json.loads((Path(__file__).parent / "data" / "mega.json").read_text())
FORMS = ["causal", "bidirectional", "bidirectional_equal"]


def number(x: list[Any]) -> Tensor:
    return torch.tensor(x, dtype=torch.float64)


def averages(record: dict[str, Any]) -> DampedEMA:
    directions, channels, count = number(record["alpha"]).shape
    ema = DampedEMA(channels, count, bidirectional=directions == 2).double()
    ema.load_state_dict({name: number(record[name]) for name in ("alpha", "delta", "beta", "eta")})
    return ema


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("given", ["responses", "x"])
def test_averages(form: str, given: str) -> None:
    """The responses to an impulse at each place, and an output; theirs are in float32."""
    record = RECORDS[form]
    if given == "x":
        x, expected = number(record["x"]), number(record["y"])
    else:
        expected = number(record["responses"])
        length = expected.shape[1]
        x = torch.eye(length, dtype=torch.float64)[..., None].expand(-1, -1, expected.shape[2])
    torch.testing.assert_close(averages(record)(x), expected, rtol=1e-5, atol=1e-5)
