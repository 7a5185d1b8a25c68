"""Dynamic positions."""

from __future__ import annotations

import pytest
import torch

from anyformer.contract import Call
from anyformer.laws import check_mixer
from anyformer.mixers import create_mixer
from anyformer.models import EncoderDecoder, load_spec
from anyformer.wrappers.dynamic_positions import DynamicPositions


@pytest.mark.parametrize("causal", [True, False])
def test_laws(causal: bool) -> None:
    assert check_mixer(lambda: DynamicPositions(16, create_mixer("attention", 16, causal=causal)))


def test_the_encoder_learns_from_alignments() -> None:
    model = EncoderDecoder(load_spec("dynamic_positions", dim=16).model_dump(), vocab_size=9)
    source, target = torch.randint(9, (2, 7)), torch.randint(9, (2, 5))
    call = Call(side={"order": torch.randint(-1, 5, (2, 7))})
    with_order = model(source, target, source_call=call)
    assert set(call.losses) == {"order"} and call.losses["order"] > 0
    torch.testing.assert_close(with_order, model(source, target))
    unknown = Call(side={"order": torch.full((2, 7), -1)})
    model(source, target, source_call=unknown)
    assert unknown.losses["order"] == 0


def test_refused() -> None:
    with pytest.raises(ValueError, match="weight must not be negative, got -1"):
        DynamicPositions(16, create_mixer("attention", 16), weight=-1)
