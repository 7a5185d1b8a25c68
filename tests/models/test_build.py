"""Modules built from specs."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from anyformer.models import EncoderDecoder, SequenceModel, create_model, load_spec


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
        "encoder_decoder encoder=(cross=cross_attention(num_heads=2, bias=true), positions=learned(max_length=5))"
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


class TestOnAGrid:
    """A stream whose tokens form a grid tells it to the parts that a spec leaves it out of."""

    FACTS = {"shape": "grid", "size": [12, 8], "fields": [{"name": "pixels", "width": 1}]}

    def model(self, spec: str) -> SequenceModel:
        io: dict[str, Any] = {"stream": self.FACTS, "num_outputs": 2, "pool": "mean"}
        return create_model(f"{spec} dim=8 embed=patches(size=2)", **io)

    @pytest.mark.parametrize(
        "spec",
        [
            "[axial(axis=0), axial(axis=1)]",
            "[neighborhood_attention(window=3)] causal=false",
            "[factorized_attention] causal=false",
            "[simplified_attention] causal=false",
            "[hyena_nd(max_length=24)] causal=false",
            "order([mamba(causal=true)], axes=1-0) causal=false",
            "[attention] positions=axial",
            "[attention] positions=learnable_fourier",
        ],
    )
    def test_left_out_is_as_if_it_were_said(self, spec: str) -> None:
        torch.manual_seed(0)
        left_out = self.model(spec)
        place = "axes=1-0" if "order" in spec else "window=3" if "window" in spec else "max_length=24"
        said = spec.replace("positions=axial", "positions=axial(grid=4, rows=6)").replace(
            "learnable_fourier", "learnable_fourier(grid=4, axes=2)"
        )
        said = said.replace("axis=", "grid=4, axis=").replace(place, f"{place}, grid=4")
        said = said.replace("factorized_attention", "factorized_attention(grid=4)")
        said = said.replace("simplified_attention", "simplified_attention(grid=4)")
        torch.manual_seed(0)
        same = self.model(said)
        assert str(said) != str(spec)
        same.load_state_dict(left_out.state_dict())
        x = left_out.example(2, 0)
        assert torch.equal(left_out.eval()(x), same.eval()(x))

    @pytest.mark.parametrize(
        "spec", ["[axial(grid=8)]", "[attention] positions=axial(grid=8)", "mamba_nd", "[hyena_nd(grid=2x2)]"]
    )
    def test_another_grid_is_refused(self, spec: str) -> None:
        with pytest.raises(
            ValueError, match="grid must be 4, as the tokens form 6x4, or be left out, got (8|2x2)"
        ):
            self.model(spec)

    def test_none_is_a_sequence(self) -> None:
        layer = self.model("[simplified_attention(grid=none)] causal=false").body.stack.mixers[0]
        assert layer.sizes == ()
