"""Prompts read twice."""

from __future__ import annotations

import pytest
import torch

from anyformer.laws import check_mixer
from anyformer.mixers import create_mixer
from anyformer.wrappers.remamba import ReMamba


@pytest.mark.parametrize("options", [{"start": 0.2, "stop": 0.9}, {"select": "uniform", "ratio": 0.5}])
def test_laws(options: dict[str, object]) -> None:
    def make() -> ReMamba:
        mixer = ReMamba(16, create_mixer("mamba", 16, state_dim=4), prompt=11, **options)
        torch.nn.init.normal_(mixer.value.weight, std=0.3)
        return mixer

    assert check_mixer(make)


def test_counts() -> None:
    mixer = ReMamba(8, create_mixer("mamba", 8), prompt=20, start=0.25, stop=0.75, ratio=0.33)
    assert (mixer.first, mixer.last, mixer.kept, mixer.saved) == (5, 15, 4, 6)
    place, _ = ReMamba(8, create_mixer("mamba", 8), prompt=12, ratio=0.25, select="uniform").choose(
        torch.randn(1, 12, 8)
    )
    assert place.tolist() == [[0, 4, 8]]


def test_refused() -> None:
    inner = create_mixer("mamba", 8)
    with pytest.raises(ValueError, match="start and stop must be shares"):
        ReMamba(8, inner, start=0.5, stop=0.5)
    with pytest.raises(ValueError, match="ratio must be above 0 and at most 1, got 0"):
        ReMamba(8, inner, ratio=0)
    with pytest.raises(ValueError, match="select must be one of importance, uniform, got 'best'"):
        ReMamba(8, inner, select="best")
    with pytest.raises(ValueError, match="inner must be causal for remamba"):
        ReMamba(8, create_mixer("hydra", 8, causal=False))
