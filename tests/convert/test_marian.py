from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from anyformer.convert.marian import from_marian


@pytest.fixture
def theirs() -> Any:
    transformers = pytest.importorskip("transformers")
    config = transformers.MarianConfig(
        vocab_size=11, decoder_vocab_size=11, d_model=16, encoder_layers=1, decoder_layers=2, encoder_ffn_dim=24,
        decoder_ffn_dim=40, encoder_attention_heads=2, decoder_attention_heads=8, activation_function="swish",
        scale_embedding=True, pad_token_id=10, max_position_embeddings=32, eos_token_id=0, forced_eos_token_id=0,
        decoder_start_token_id=10,
    )  # fmt: skip
    model = transformers.MarianMTModel(config).double().eval()
    with torch.no_grad():
        model.final_logits_bias.normal_()
        for name, p in model.named_parameters():
            if "embed_positions" not in name:
                p.add_(torch.randn_like(p) * 0.2)
    return model


def test_logits_are_those_of_the_peer_from_memory_and_from_a_folder(theirs: Any, tmp_path: Path) -> None:
    source, target = torch.randint(10, (2, 9)), torch.randint(10, (2, 7))
    with torch.no_grad():
        expected = theirs(input_ids=source, decoder_input_ids=target).logits
        torch.testing.assert_close(from_marian(theirs)(source, target), expected)
        theirs.save_pretrained(tmp_path)
        loaded = from_marian(tmp_path)
        torch.testing.assert_close(loaded(source, target), expected)
    assert loaded.target_embed.weight.dtype == torch.float64 and not loaded.training


def test_errors(theirs: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="source must be a folder or a model of transformers, got int"):
        from_marian(3)  # type: ignore[arg-type]
    config, tensors = theirs.config.to_dict(), {k: v.clone() for k, v in theirs.state_dict().items()}

    def folder(**changes: Any) -> Path:
        (tmp_path / "config.json").write_text(json.dumps({**config, **changes}))
        save_file(tensors, tmp_path / "model.safetensors")
        return tmp_path

    for changes, message in (
        ({"model_type": "bart"}, "source must be of the model_type 'marian', got 'bart'"),
        ({"decoder_vocab_size": 12}, "source must share one vocabulary, got 11 and 12 tokens"),
        (
            {"activation_function": "tanh"},
            "activation_function must be one of gelu, relu, silu, swish, got 'tanh'",
        ),
        ({"decoder_ffn_dim": 41}, r"the shape \(41, 16\), got \(40, 16\)"),
        ({"encoder_layers": 2}, "source lacks 'model.encoder.layers.1.self_attn.q_proj.weight'"),
    ):
        with pytest.raises(ValueError, match=message):
            from_marian(folder(**changes))


def test_nothing_stored_is_left_out(theirs: Any, tmp_path: Path) -> None:
    config, tensors = theirs.config.to_dict(), {k: v.clone() for k, v in theirs.state_dict().items()}
    (tmp_path / "config.json").write_text(json.dumps(config))

    def converted(**extra: torch.Tensor) -> Any:
        save_file({**tensors, **extra}, tmp_path / "model.safetensors")
        return from_marian(tmp_path)

    converted()
    for name in ("lm_head.weight", "model.encoder.embed_tokens.weight"):
        with pytest.raises(ValueError, match=f"{name}.*ours share one"):
            converted(**{name: tensors["model.shared.weight"] + 1})
    with pytest.raises(ValueError, match=r"has 'more', which a 'marian' model has no place for"):
        converted(more=torch.ones(2))
    with pytest.raises(ValueError, match="quantised"):
        converted(
            **{
                "model.encoder.layers.0.fc1.weight": tensors["model.encoder.layers.0.fc1.weight"].to(
                    torch.int8
                )
            }
        )
