"""Modules built from specs."""

from __future__ import annotations

import pytest
import torch

from anyformer.models import EncoderDecoder, create_model, load_spec


def test_a_prefix_is_as_if_it_stood_in_the_text() -> None:
    """Without positions, learned tokens do what embedded ones in front of the text do."""
    spec = "[attention]*2 dim=16 causal=false positions=none"
    plain, prefixed = (
        create_model(spec, vocab_size=9).double(),
        create_model(f"{spec} prefix=2", vocab_size=9),
    )
    prefixed = prefixed.double()
    prefixed.load_state_dict({**plain.state_dict(), "body.prefix": plain.embed.weight[[7, 4]]})
    tokens, mask = torch.randint(9, (2, 6)), torch.ones(2, 6, dtype=torch.bool)
    mask[1, 4:] = False
    front = torch.tensor([[7, 4]]).expand(2, 2)
    expected = plain(torch.cat([front, tokens], 1), torch.cat([torch.ones_like(front) > 0, mask], 1))[:, 2:]
    torch.testing.assert_close(prefixed(tokens, mask)[mask], expected[mask])
    with pytest.raises(ValueError, match="prefix must be 0 in a causal model, got 2"):
        create_model("transformer prefix=2", vocab_size=9)


def test_cross_attention_and_positions_of_the_encoder_are_the_specs() -> None:
    spec = load_spec(
        "encoder_decoder cross=cross_attention(num_heads=2, bias=true) encoder_positions=learned(max_length=5)"
    )
    assert load_spec(str(spec)) == spec
    model = EncoderDecoder(spec.model_dump(), vocab_size=9)
    assert model.decoder.stack.mixers[1].num_heads == 2 and model.decoder.stack.mixers[1].q.bias is not None
    assert model.encoder.info.max_length == 5 and model.decoder.info.max_length is None


def test_scaled_init_shrinks_what_sublayers_end_with() -> None:
    sizes = []
    for scaled in ("false", "true"):
        torch.manual_seed(0)
        sizes.append(create_model(f"transformer depth=2 scaled_init={scaled}", vocab_size=9).state_dict())
    for name, plain in sizes[0].items():
        last = name.endswith(("out.weight", "down.weight"))
        torch.testing.assert_close(sizes[1][name], plain / 2 if last else plain)
