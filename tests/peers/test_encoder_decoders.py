"""LED, LongT5 and PEGASUS-X of transformers, under the same weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from anyformer.contract import Call
from anyformer.convert import from_hf
from anyformer.models import EncoderDecoder

transformers = pytest.importorskip("transformers")

BART = {
    "vocab_size": 31,
    "d_model": 16,
    "encoder_layers": 3,
    "decoder_layers": 2,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 20,
    "decoder_ffn_dim": 24,
}
LED = {
    "attention_window": [4, 8, 4],
    "max_encoder_position_embeddings": 64,
    "max_decoder_position_embeddings": 32,
}
T5 = {
    "vocab_size": 31,
    "d_model": 16,
    "d_kv": 6,
    "d_ff": 20,
    "num_layers": 3,
    "num_decoder_layers": 2,
    "num_heads": 2,
    "local_radius": 3,
    "global_block_size": 4,
    "relative_attention_num_buckets": 8,
    "relative_attention_max_distance": 12,
}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "led": ("LED", {**BART, **LED}),
    "pegasus_x": ("PegasusX", {**BART, "block_size": 6, "num_global_tokens": 3}),
    "pegasus_x unscaled, aligned": (
        "PegasusX",
        {
            **BART,
            "block_size": 4,
            "num_global_tokens": 5,
            "scale_embedding": False,
            "stagger_local_blocks": False,
        },
    ),
    "longt5 local": ("LongT5", {**T5, "feed_forward_proj": "gated-gelu"}),
    "longt5 relu": ("LongT5", {**T5, "feed_forward_proj": "relu"}),
    "longt5 global": ("LongT5", {**T5, "encoder_attention_type": "transient-global"}),
    "longt5 v1.1": (
        "LongT5",
        {**T5, "encoder_attention_type": "transient-global", "tie_word_embeddings": False},
    ),
}


def peer(case: str) -> Any:
    kind, options = CASES[case]
    torch.manual_seed(0)
    config = getattr(transformers, f"{kind}Config")(**options)
    model = getattr(transformers, f"{kind}ForConditionalGeneration")(config).eval()
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if tensor.is_floating_point() and "position" not in name:
            tensor.data.add_(0.1 * torch.randn_like(tensor))
    return model


def inputs(length: int = 24) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    source, target = (torch.randint(3, 31, (2, n), generator=generator) for n in (length, 7))
    mask = torch.ones(2, length, dtype=torch.int64)
    mask[1, length // 2 :] = 0
    return source, target, mask


@pytest.mark.parametrize("case", CASES)
def test_logits_are_those_of_transformers(case: str, tmp_path: Path) -> None:
    """From the model, and from its folder, where tied matrices are written once."""
    theirs = peer(case)
    theirs.save_pretrained(tmp_path)
    for ours in (from_hf(theirs), from_hf(tmp_path)):
        assert isinstance(ours, EncoderDecoder) and not ours.training
        for length in (24, 11, 3):
            source, target, mask = inputs(length)
            y = ours(source, target, mask.bool())
            expected = theirs(input_ids=source, attention_mask=mask, decoder_input_ids=target).logits
            torch.testing.assert_close(y, expected, rtol=1e-4, atol=2e-5)


def test_global_tokens_of_led() -> None:
    theirs, (source, target, mask) = peer("led"), inputs()
    ours, marks = from_hf(theirs), torch.zeros_like(source)
    marks[0, [0, 11]], marks[1, 3] = 1, 1
    y = ours(source, target, mask.bool(), source_call=Call(side={"global_tokens": marks.bool()}))
    expected = theirs(source, mask, target, global_attention_mask=marks).logits
    torch.testing.assert_close(y, expected, rtol=1e-4, atol=2e-5)
    assert not torch.allclose(y, ours(source, target, mask.bool()), atol=1e-3)


def test_it_streams_its_targets() -> None:
    ours, (source, target, mask) = from_hf(peer("longt5 global")), inputs()
    context, state, parts = ours.encode(source, mask.bool()), ours.init_state(2), []
    for token in target.split(2, 1):
        y, state = ours.stream(token, state, context=context if not parts else None)
        parts.append(y)
    torch.testing.assert_close(torch.cat(parts, 1), ours(source, target, mask.bool()))


def test_what_does_not_fit_is_said() -> None:
    theirs = peer("longt5 global")
    theirs.config.encoder_attention_type = "local"
    with pytest.raises(
        ValueError, match="has 'encoder.block.0.*which a 'longt5' language model has no place for"
    ):
        from_hf(theirs)
    theirs.config.encoder_attention_type = "dense"
    with pytest.raises(
        ValueError, match="encoder_attention_type of a 'longt5' checkpoint must be 'local' or"
    ):
        from_hf(theirs)
