"""Random positions: limits, saved draws, and shorter samples in a batch."""

from __future__ import annotations

import pytest
import torch

from anyformer.contract import Call, Inputs
from anyformer.mixers import create_mixer
from anyformer.positions import create_position

SIZES = {"dim": 16, "num_heads": 4, "head_dim": 4}


def test_randomized() -> None:
    scheme = {"name": "randomized", "scheme": "rope", "limit": 30, "longest": 20}
    mixer = create_mixer("attention", 16, positions=scheme)
    assert mixer.info.max_length == 20 and "modes" in mixer.info.exceptions
    with pytest.raises(ValueError, match=r"x must have at most 20 tokens \(max_length\), got 21"):
        mixer.eval()(torch.randn(1, 21, 16))
    other = create_mixer("attention", 16, positions=scheme)
    other.load_state_dict(mixer.state_dict())
    x = torch.randn(1, 9, 16)
    assert torch.equal(mixer.eval()(x), other.eval()(x))
    with pytest.raises(ValueError, match="longest must be from 1 to limit for randomized, got 40 and 30"):
        create_position("randomized", limit=30, longest=40, **SIZES)
    with pytest.raises(
        ValueError, match="limit must be at most 16, the positions of the scheme inside, got 30"
    ):
        create_position("randomized", limit=30, scheme={"name": "learned", "max_length": 16}, **SIZES)
    numbered = create_position("randomized", limit=30, **SIZES).eval()
    index = torch.arange(12).expand(2, 12)
    mask = index < torch.tensor([[12], [5]])
    ids = numbered.ids(Inputs(mask, index, index.float(), None, Call()))
    alone = numbered.ids(Inputs(None, index[:1, :5], index[:1, :5].float(), None, Call()))
    assert torch.equal(ids[1, :5], alone[0]), "a shorter sample has its own draw"
    assert bool((ids[0].diff() > 0).all()) and int(ids[0].max()) < 30
