"""Encoders of encoder-decoders, and learned tokens in front."""

from __future__ import annotations

import pytest

from anyformer.laws import check_mixer
from anyformer.models import EncoderDecoder, load_spec
from anyformer.models.build import Backbone


@pytest.mark.parametrize("name", ["led", "longt5", "pegasus_x"])
def test_encoders_obey_the_laws(name: str) -> None:
    def encoder() -> Backbone:
        spec = load_spec(name, dim=16)
        return EncoderDecoder(spec.model_dump(), vocab_size=3).encoder

    laws = ["reach", "padding", "length", "gradient", "independence", "purity", "modes", "persistence"]
    check_mixer(encoder, only=laws)
