"""Models with a source: a stack reads it as the beginning of its sequence, an encoder-decoder attends to it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from anyformer.models import SequenceModel, create_model
from anyformer.models.size import count_parameters, flops_per_token
from anyformer.schema import Stream

WORDS = 11
PAST = {"stream": {"fields": [{"name": "sold", "width": 1}, {"name": "day", "size": 7}]}}
AHEAD = {"fields": [{"name": "day", "size": 7}]}
SPECS = ["mamba", "[attention*2]", "[linear_attention, attention] causal=False", "encoder_decoder depth=1"]


def build(spec: str, **io: Any) -> SequenceModel:
    torch.manual_seed(0)
    io = {"vocab_size": WORDS, "source": {"vocab_size": WORDS}, "dim": 16, **io}
    return create_model(spec, **io).double().eval()


def tokens(*shape: int) -> Tensor:
    return torch.randint(WORDS, shape, generator=torch.Generator().manual_seed(sum(shape)))


def test_a_stack_reads_source_and_inputs_as_one_sequence() -> None:
    model = build("[attention, mamba]")
    alone = create_model("[attention, mamba] dim=16", vocab_size=WORDS).double().eval()
    alone.load_state_dict({k: v for k, v in model.state_dict().items() if not k.startswith("source_embed")})
    source, x = tokens(2, 5), tokens(2, 4)
    y = model(x, source=Stream(source))
    assert torch.equal(y, alone(torch.cat([source, x], 1))[:, 5:])


@pytest.mark.parametrize("pool", [None, "mean", "last"])
@pytest.mark.parametrize("spec", SPECS)
def test_padding_anywhere_changes_nothing(spec: str, pool: str | None) -> None:
    model = build(spec, pool=pool, num_outputs=WORDS)
    source, x = tokens(2, 6), tokens(2, 5)
    source_mask = torch.tensor([[True, False, True, True, False, False], [True] * 6])
    mask = torch.tensor([[False, True, True, False, True], [True] * 5])
    for given_source, given in ((source_mask, mask), (source_mask, None), (None, mask)):
        y = model(x, given, source=Stream(source, given_source))
        one = Stream(source[:1] if given_source is None else source[:1, given_source[0]])
        alone = model(x[:1] if given is None else x[:1, given[0]], source=one)
        mine = y[:1] if pool or given is None else y[:1, given[0]]
        torch.testing.assert_close(mine, alone, rtol=0, atol=1e-10)


@pytest.mark.parametrize("spec", [s for s in SPECS if "False" not in s])
def test_streaming_after_the_source(spec: str) -> None:
    model = build(spec)
    source = Stream(tokens(2, 6), torch.tensor([[True, False, True, True, False, False], [True] * 6]))
    x = tokens(2, 7)
    whole = model(x, source=source)
    first, state = model.start(x[:, :2], source=source)
    rest, _ = model.stream(x[:, 2:], state)
    torch.testing.assert_close(torch.cat([first, rest], 1), whole, rtol=0, atol=1e-10)
    changed = model(x, source=Stream((source.inputs + 1) % WORDS, source.mask))  # type: ignore[operator]
    assert (changed != whole).any(-1).all()


def test_a_model_without_a_source_starts_where_it_streams() -> None:
    model, x = build("mamba", source=None), tokens(2, 5)
    assert torch.equal(model.start(x)[0], model.stream(x, model.init_state(2))[0])


@pytest.mark.parametrize("spec", ["mamba", "[attention] causal=False", "encoder_decoder depth=1"])
def test_fields_that_both_have_share_their_module(spec: str, tmp_path: Path) -> None:
    model = build(spec, vocab_size=None, stream=AHEAD, num_outputs=1, source=PAST)
    assert model.embed.fields[0] is model.source_embed.fields[1]  # type: ignore[index,union-attr]
    assert model.head.weight.shape == (1, 16)
    source = model.example_source(2, 9)
    assert source is not None
    source = source.map(lambda v: v.double() if v.is_floating_point() else v)
    x = model.example(2, 4)
    y = model(x, source=source)
    assert y.shape == (2, 4, 1) and model.length(x, source) == 13
    model.save_pretrained(tmp_path)
    again = SequenceModel.from_pretrained(tmp_path, strict=True).eval()
    assert torch.equal(again(x, source=source), y)
    assert count_parameters(model.spec, **_io(model)) == model.num_parameters()


def _io(model: SequenceModel) -> dict[str, Any]:
    return {"stream": AHEAD, "num_outputs": model.num_outputs, "source": PAST}


def test_vocabularies_of_other_sizes_have_tables_of_their_own() -> None:
    model = build("mamba", source={"vocab_size": 5})
    assert model.source_embed.weight.shape == (5, 16)  # type: ignore[union-attr]
    shared = build("mamba")
    assert shared.source_embed is shared.embed
    numbers = build("mamba", vocab_size=None, num_features=3, num_outputs=2, source={"num_features": 3})
    assert numbers.source_embed is not numbers.embed


def test_every_token_that_is_read_counts_as_one() -> None:
    per_token = flops_per_token(build("mamba"), tokens(1, 8), Stream(tokens(1, 8)))
    alone = flops_per_token(build("mamba", source=None), tokens(1, 16))
    assert 0.8 * alone < per_token <= alone  # the head reads half of them


def test_wrong_sources() -> None:
    model, x = build("mamba"), tokens(2, 3)
    with pytest.raises(ValueError, match="source must be given: the model continues one"):
        model(x)
    with pytest.raises(ValueError, match="source must be None for a model without one"):
        build("mamba", source=None)(x, source=Stream(x))
    with pytest.raises(ValueError, match="source must hold tokens from 0 to 10, got"):
        model(x, source=Stream(x + WORDS))
    with pytest.raises(ValueError, match="source must have as many samples as x, 2, got 1"):
        model(x, source=Stream(x[:1]))
    with pytest.raises(ValueError, match=r"source.mask must have shape \(2, 3\)"):
        model(x, source=Stream(x, torch.ones(2, 4, dtype=torch.bool)))
    with pytest.raises(ValueError, match="source must be an anyformer.schema.Stream, got Tensor"):
        model(x, source=x)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="positions must be None"):
        model(x, source=Stream(x), positions=x)
    with pytest.raises(ValueError, match="mixers on a grid, which no source can stand in front of"):
        build("[axial(grid=2x2)] causal=False positions=none")
    with pytest.raises(ValueError, match="the spec has an encoder, which reads a source, and there is none"):
        build("encoder_decoder", source=None)
