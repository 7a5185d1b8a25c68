from __future__ import annotations

import pytest
import torch
from torch import nn

from anyformer.convert.export import export_layer
from anyformer.models import EncoderDecoder, create_model, load_spec


def test_an_exported_encoder_layer_gives_the_same() -> None:
    model = EncoderDecoder(load_spec("encoder_decoder dim=16 depth=1").model_dump(), vocab_size=5).eval()
    theirs = nn.TransformerEncoderLayer(16, 4, 64, dropout=0.0, batch_first=True).eval()
    export_layer(model.encoder.stack, 0, theirs)
    x = torch.randn(2, 9, 16)
    torch.testing.assert_close(theirs(x), model.encoder.stack(x), rtol=1e-5, atol=1e-5)


def test_errors() -> None:
    model = EncoderDecoder(load_spec("encoder_decoder dim=16 depth=1").model_dump(), vocab_size=5)
    encoder = nn.TransformerEncoderLayer(16, 4, 64)
    with pytest.raises(ValueError, match="into must have 'multihead_attn.in_proj_weight'"):
        export_layer(model.decoder.stack, 0, encoder)
    with pytest.raises(
        ValueError, match=r"into.self_attn.in_proj_weight must have shape \(48, 16\), got \(24, 8\)"
    ):
        export_layer(model.encoder.stack, 0, nn.TransformerEncoderLayer(8, 4, 64))
    with pytest.raises(ValueError, match="stack must have attention and mlp at layer 0, got .*SwiGLU"):
        export_layer(create_model("[attention] dim=16", vocab_size=5).body.stack, 0, encoder)
    with pytest.raises(
        ValueError, match="into has 'multihead_attn.in_proj_weight', for which the layer has nothing"
    ):
        export_layer(model.encoder.stack, 0, nn.TransformerDecoderLayer(16, 4, 64))
