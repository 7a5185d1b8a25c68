"""Stacks that run from the last token to the first."""

from __future__ import annotations

import pytest
import torch

from anyformer import Call
from anyformer.laws import check_mixer
from anyformer.mixers import create_mixer
from anyformer.wrappers.flip import Flip


@pytest.mark.parametrize(
    ("name", "options"),
    [("mamba", {"state_dim": 4}), ("attention", {"window": 3}), ("message_passing", {})],
)
def test_laws(name: str, options: dict[str, object]) -> None:
    assert check_mixer(lambda: Flip(16, create_mixer(name, 16, **options)))


def test_it_sees_what_comes_later() -> None:
    inner = create_mixer("mamba", 8)
    flipped, x = Flip(8, inner), torch.randn(2, 5, 8)
    scale = torch.rand(2, 5) + 0.5
    y = flipped(x, call=Call(side={"step_scale": scale}))
    expected = inner(x.flip(1), call=Call(side={"step_scale": scale.flip(1)})).flip(1)
    torch.testing.assert_close(y, expected)
    assert inner.info.reach == (None, 0) and flipped.info.reach == (0, None)
    assert Flip(8, flipped).info.reach == (None, None)
    with pytest.raises(ValueError, match="inner must not read tokens as a grid"):
        Flip(8, create_mixer("axial", 8, grid=3, axis=0))
