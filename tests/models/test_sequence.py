"""Models: streaming with padding, saving, sharing, sizes, two sequences."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from anyformer import Call
from anyformer.models import (
    EncoderDecoder,
    SequenceModel,
    create_model,
    list_models,
    load_spec,
)
from anyformer.state import state_bytes

ONE_STACK = [
    name for name in list_models() if not (spec := load_spec(name)).encoder and spec.embed.name == "default"
]
CAUSAL = [name for name in ONE_STACK if load_spec(name).causal]


def build(spec: str, **io: object) -> SequenceModel:
    torch.manual_seed(0)
    return create_model(spec, **({"vocab_size": 11} | io)).double().eval()  # type: ignore[arg-type]


@pytest.mark.parametrize("name", CAUSAL)
def test_whole_equals_streamed_with_padding(name: str) -> None:
    model = build(f"{name} dim=16")
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(0, 11, (3, 23), generator=generator)
    mask = torch.rand(3, 23, generator=generator) > 0.3
    if model.body.info.grid:  # which refuses holes: the tokens behind one would move
        mask = torch.arange(23) < mask.sum(1, keepdim=True)
    whole = model(x, mask).detach()
    for sizes in ([23], [1] * 23, [5, 0, 1, 9, 8]):
        state, parts, start = model.init_state(3), [], 0
        for size in sizes:
            y, state = model.stream(x[:, start : start + size], state, mask[:, start : start + size])
            parts.append(y)
            start += size
        assert float((torch.cat(parts, 1).detach() - whole).abs().max()) <= 1e-9


@pytest.mark.parametrize("name", ONE_STACK)
def test_saved_and_loaded_is_the_same(name: str, tmp_path: Path) -> None:
    model = build(f"{name} dim=16").float()
    model.save_pretrained(tmp_path)
    assert {p.name for p in tmp_path.iterdir()} >= {"config.json", "model.safetensors"}
    loaded = SequenceModel.from_pretrained(tmp_path).eval()
    x = torch.randint(0, 11, (2, 9))
    assert loaded.spec == model.spec
    call = model.example_call(2, 9)
    assert torch.equal(loaded(x, call=call), model(x, call=call))


def test_tags_share_weights_and_not_states(tmp_path: Path) -> None:
    shared, separate = build("[attention@a]*3 dim=16"), build("[attention]*3 dim=16")
    assert shared.num_parameters() < separate.num_parameters()
    assert state_bytes(shared.init_state(2)) == state_bytes(separate.init_state(2))
    shared.float().save_pretrained(tmp_path)
    x = torch.randint(0, 11, (2, 9))
    assert torch.equal(SequenceModel.from_pretrained(tmp_path).eval()(x), shared(x))


def test_tied_embeddings() -> None:
    tied = build("transformer dim=16 head=linear(tied=true)")
    assert tied.head.weight is tied.embed.weight
    with pytest.raises(ValueError, match="tied needs as many outputs as tokens"):
        build("transformer dim=16 head=linear(tied=true)", num_outputs=3)


def test_cross_layer_sharing_keeps_one_cache() -> None:
    model = build("cross_layer_attention dim=16 depth=2")
    _, state = model.stream(torch.zeros(1, 8, dtype=torch.int64), model.init_state(1))
    _, own = build("transformer dim=16").stream(
        torch.zeros(1, 8, dtype=torch.int64), build("transformer dim=16").init_state(1)
    )
    assert state_bytes(state) < 0.6 * state_bytes(own)


@pytest.mark.parametrize("pool", ["mean", "last"])
def test_pooling_looks_at_real_tokens_only(pool: str) -> None:
    model = build("retnet dim=16", vocab_size=None, num_features=3, num_outputs=2, pool=pool)
    x = torch.randn(2, 6, 3, dtype=torch.float64)
    mask = torch.tensor([[True] * 4 + [False] * 2, [False, True, True, True, True, True]])
    y = model(x, mask)
    assert y.shape == (2, 2)
    torch.testing.assert_close(y[:1], model(x[:1, :4]))
    torch.testing.assert_close(y[1:], model(x[1:, 1:]))


def test_outputs_at_some_elements_are_those_of_all() -> None:
    model = build("mamba dim=16")
    x, at = torch.randint(0, 11, (3, 9)), torch.tensor([[0, 8], [4, 4], [7, 2]])
    whole = model(x)
    assert torch.equal(model(x, at=at), torch.stack([whole[row, at[row]] for row in range(3)]))


def test_encoder_decoder_streams_and_ignores_padding() -> None:
    torch.manual_seed(0)
    model = EncoderDecoder(load_spec("encoder_decoder dim=16").model_dump(), vocab_size=11).double().eval()
    source, target = torch.randint(0, 11, (2, 7)), torch.randint(0, 11, (2, 6))
    mask = torch.tensor([[True] * 7, [True] * 3 + [False] * 4])
    whole = model(source, target, mask)
    torch.testing.assert_close(whole[1:], model(source[1:, :3], target[1:]))
    context, state = model.encode(source, mask), model.init_state(2)
    first, state = model.stream(target[:, :2], state, context=context)
    rest, _ = model.stream(target[:, 2:], state)
    torch.testing.assert_close(torch.cat([first, rest], 1), whole, rtol=0, atol=1e-10)
    changed = source.clone()
    changed[:, 0] = (changed[:, 0] + 1) % 11
    assert not torch.allclose(model(changed, target, mask), whole)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.zeros(1, 2), "x must be tokens"),
        (torch.full((1, 2), 11), "x must hold tokens from 0 to 10, got 11 to 11"),
        (torch.zeros(1, 2, 3, dtype=torch.int64), "x must be tokens"),
    ],
)
def test_wrong_input(x: torch.Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build("transformer dim=16")(x)


def test_wrong_models() -> None:
    with pytest.raises(ValueError, match="exactly one of vocab_size, num_features and stream"):
        create_model("transformer")
    with pytest.raises(ValueError, match="pool must be None, 'mean' or 'last', got 'max'"):
        create_model("transformer", vocab_size=3, pool="max")
    with pytest.raises(ValueError, match="the spec has an encoder"):
        create_model("encoder_decoder", vocab_size=3)
    with pytest.raises(ValueError, match="x must have at most 4 tokens"):
        build("[attention] positions=learned(max_length=4) dim=16")(torch.zeros(1, 5, dtype=torch.int64))


def test_encoder_decoder_ties_and_scales_its_embeddings() -> None:
    spec = load_spec("encoder_decoder dim=16 depth=1")
    assert str(spec).endswith("embed=default(scaled=true) head=linear(tied=true)")
    model = EncoderDecoder(spec.model_dump(), vocab_size=11).eval()
    assert model.head.weight is model.target_embed.weight
    bare = EncoderDecoder(load_spec(spec, embed="default(scaled=false)").model_dump(), vocab_size=11).eval()
    bare.load_state_dict(model.state_dict())
    with torch.no_grad():
        bare.target_embed.weight.mul_(4.0)
        source, target = torch.randint(11, (2, 5)), torch.randint(11, (2, 4))
        torch.testing.assert_close(bare(source, target), 4.0 * model(source, target))


def test_scaled_embeddings_of_a_decoder() -> None:
    model, bare = (
        create_model("[attention] dim=16", vocab_size=5, embed=f"default(scaled={s})") for s in (True, False)
    )
    bare.load_state_dict(model.state_dict())
    with torch.no_grad():
        bare.embed.weight.mul_(4.0)
    x = torch.randint(5, (2, 6))
    torch.testing.assert_close(model(x), bare(x))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_dtypes_survive_saving(tmp_path: Path, dtype: torch.dtype) -> None:
    model = create_model("transformer dim=16 depth=1", vocab_size=4).to(dtype)
    model.body.stack.float()  # mixed ones too
    model.save_pretrained(tmp_path)
    again = SequenceModel.from_pretrained(tmp_path)
    assert {k: (v.dtype, v.sum()) for k, v in again.state_dict().items()} == {
        k: (v.dtype, v.sum()) for k, v in model.state_dict().items()
    }


def test_a_decoder_hears_its_side_inputs_while_it_streams() -> None:
    model = EncoderDecoder(load_spec("encoder_decoder", dim=16).model_dump(), vocab_size=9).double().eval()
    source, target, part = torch.randint(9, (2, 7)), torch.randint(9, (2, 6)), torch.randint(3, (2, 6))
    expected = model(source, target, call=Call(side={"part": part}))
    assert not torch.allclose(expected, model(source, target))
    context, state, out = model.encode(source), model.init_state(2), []
    for cut in (slice(0, 1), slice(1, 6)):
        call = Call(side={"part": part[:, cut]})
        y, state = model.stream(target[:, cut], state, context=context, call=call)
        out.append(y)
    torch.testing.assert_close(torch.cat(out, 1), expected)
