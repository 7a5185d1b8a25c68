"""Configs and names of encoder-decoders; their weights are compared in ``tests/peers``."""

from __future__ import annotations

from typing import Any

import pytest

from anyformer.convert import key_map
from anyformer.convert.encoder_decoders import ENCODER_DECODERS, LONGT5

BART = {
    "vocab_size": 11,
    "d_model": 8,
    "encoder_layers": 2,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 16,
    "decoder_ffn_dim": 16,
}
CONFIGS: dict[str, dict[str, Any]] = {
    "led": {
        **BART,
        "attention_window": [4, 8],
        "max_encoder_position_embeddings": 32,
        "max_decoder_position_embeddings": 16,
    },
    "pegasus_x": {**BART, "num_global_tokens": 2, "block_size": 4},
    "longt5": {
        "vocab_size": 11,
        "d_model": 8,
        "d_kv": 4,
        "d_ff": 16,
        "num_heads": 2,
        "num_layers": 2,
        "num_decoder_layers": 1,
        "local_radius": 3,
        "feed_forward_proj": "gated-gelu",
    },
}


@pytest.mark.parametrize("kind", ENCODER_DECODERS)
def test_every_parameter_has_a_source_in_the_right_layer(kind: str) -> None:
    found = key_map({"model_type": kind, **CONFIGS[kind]})
    encoder = {
        key for name, source in found.items() if name.startswith("encoder.stack.") for key in source.keys
    }
    decoder = {key for name, source in found.items() if name.startswith("body.stack.") for key in source.keys}
    assert all(key.startswith("encoder.") for key in encoder) and all(
        key.startswith("decoder.") for key in decoder
    )
    for layers, keys in ((2, encoder), (1, decoder)):
        assert {int(key.split(".")[2]) for key in keys if key.split(".")[1] in ("layers", "block")} == set(
            range(layers)
        )


@pytest.mark.parametrize("kind", ENCODER_DECODERS)
def test_a_config_without_sizes_is_refused(kind: str) -> None:
    with pytest.raises(ValueError, match=f"config.json of a '{kind}' model must have '"):
        key_map({"model_type": kind})


def test_windows_of_led_differ_by_layer() -> None:
    spec = ENCODER_DECODERS["led"].spec({"model_type": "led", **CONFIGS["led"]})
    assert [part["options"]["window"] for part in spec["encoder"]["layers"]] == [3, 5]


def test_variants_of_t5_have_one_name() -> None:
    for kind in ("Local", "TransientGlobal"):
        assert LONGT5.short(f"encoder.block.0.layer.0.{kind}SelfAttention.q.weight") == (
            "encoder.block.0.layer.0.SelfAttention.q.weight"
        )
    assert LONGT5.short("decoder.block.0.layer.2.DenseReluDense.wi.weight").endswith(".wi_1.weight")
    assert LONGT5.is_unused("encoder.embed_tokens.weight") and not LONGT5.is_unused("shared.weight")
    with pytest.raises(
        ValueError, match="feed_forward_proj of a 'longt5' checkpoint must be .*, got 'swish'"
    ):
        LONGT5.spec({"model_type": "longt5", **CONFIGS["longt5"], "feed_forward_proj": "swish"})
