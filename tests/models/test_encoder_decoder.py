"""The first form of encoder-decoders: names of parameters and numbers stay, so that saved folders load."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from anyformer.models import EncoderDecoder, SequenceModel, create_model, load_spec
from anyformer.schema import Stream

FIELDS = load_spec("encoder_decoder", dim=16, depth=1).model_dump()


@pytest.mark.parametrize("features", [None, 3])
def test_it_is_a_model_with_a_source_under_other_names(features: int | None) -> None:
    torch.manual_seed(0)
    old = EncoderDecoder(FIELDS, 11, features).double().eval()
    torch.manual_seed(0)
    source = {"vocab_size": 11} if features is None else {"num_features": features}
    new = create_model(FIELDS, vocab_size=11, source=source).double().eval()
    given = torch.randint(11, (2, 6)) if features is None else torch.randn(2, 6, 3, dtype=torch.float64)
    x, mask = torch.randint(11, (2, 5)), torch.tensor([[True] * 4 + [False] * 2, [True] * 6])
    assert torch.equal(old(given, x, mask), new(x, source=Stream(given, mask)))
    held = old.state_dict()
    assert {name.split(".")[0] for name in held} == {
        "target_embed",
        "source_embed",
        "encoder",
        "decoder",
        "head",
    }
    other = EncoderDecoder(FIELDS, 11, features).double().eval()
    other.load_state_dict(held)
    assert torch.equal(old(given, x, mask), other(given, x, mask))
    outer = torch.nn.ModuleDict({"first": torch.nn.Linear(2, 2), "model": other})
    outer.load_state_dict(outer.state_dict())
    assert "model.target_embed.weight" in outer.state_dict()


def test_folders_keep_the_old_names(tmp_path: Path) -> None:
    model = EncoderDecoder(FIELDS, 11).to(torch.bfloat16).eval()
    model.save_pretrained(tmp_path)
    assert {name.split(".")[0] for name in load_file(tmp_path / "model.safetensors")} >= {
        "encoder",
        "decoder",
    }
    again = EncoderDecoder.from_pretrained(tmp_path, strict=True).eval()
    x = torch.randint(11, (2, 5))
    assert torch.equal(again(x, x), model(x, x))
    assert again.head.weight is again.target_embed.weight
    assert {p.dtype for p in again.parameters()} == {torch.bfloat16}


def test_wrong_specs() -> None:
    with pytest.raises(
        ValueError, match="the spec has no encoder: build it with anyformer.models.SequenceModel"
    ):
        EncoderDecoder(load_spec("mamba").model_dump(), 11)
    with pytest.raises(ValueError, match="vocab_size must be a whole number of at least 1, got 0"):
        EncoderDecoder(FIELDS, 0)
    assert issubclass(EncoderDecoder, SequenceModel)
