"""Side inputs go where their tokens go, or are refused; so is what would move tokens on a grid."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from anyformer import Call, Mixer, MixerInfo, create_mixer
from anyformer.contract import Inputs
from anyformer.models import EncoderDecoder, create_model

SCALED = "mamba(state_dim=2, conv_width=2, causal=true)"
CARRIED = [
    f"[{SCALED}]",
    f"[segments([{SCALED}], length=3)]",
    f"[mixture_of_depths([{SCALED}], capacity=0.5)]",
    f"[order([{SCALED}], grid=3, axes=1-0)]",
    "[axial(grid=3, axis=1, inner=mamba)]",
    "[axial(grid=3, axis=0, inner=mamba)]",
]
REFUSED = [
    f"two_level([attention], [{SCALED}], patch=2)",
    f"two_level([{SCALED}], [attention], patch=2)",
    f"axial_decoder([axial(grid=3)], [{SCALED}], columns=3)",
    f"ranker([{SCALED}], split=3)",
    f"remamba([{SCALED}], prompt=4)",
]


def body(layers: str, **fields: Any) -> Mixer:
    torch.manual_seed(0)
    causal = "order" not in layers
    fields = {"channel": None, "positions": "none", "causal": causal, **fields}
    return create_model({"layers": layers, "dim": 8, **fields}, vocab_size=5).body.double().eval()


BODIES = {layers: body(layers) for layers in CARRIED}


@settings(derandomize=True, max_examples=15, deadline=None)
@given(st.sampled_from(CARRIED), st.lists(st.integers(0, 9), min_size=2, max_size=3), st.data())
def test_a_side_input_moves_with_its_tokens(layers: str, lengths: list[int], data: st.DataObject) -> None:
    """Padded in front, behind or packed, with junk at padding, equals each sample alone."""
    mixer, T = BODIES[layers], max(lengths) + 3
    x = torch.randn(len(lengths), T, 8, dtype=torch.float64)
    scale = torch.rand(len(lengths), T, dtype=torch.float64) + 0.5
    mask = torch.zeros(len(lengths), T, dtype=torch.int64)
    for b, n in enumerate(lengths):
        start = data.draw(st.integers(0, T - n))
        mask[b, start : start + n] = 1
    packed = data.draw(st.booleans())
    y = mixer(x, mask=mask if packed else mask.bool(), call=Call(side={"step_scale": scale}))
    for b in range(len(lengths)):
        real = mask[b].bool()
        alone = mixer(x[b : b + 1, real], call=Call(side={"step_scale": scale[b : b + 1, real]}))
        torch.testing.assert_close(y[b, real], alone[0], rtol=1e-9, atol=1e-9)
        if real.any():
            assert not torch.equal(alone, mixer(x[b : b + 1, real]))


@pytest.mark.parametrize("layers", CARRIED[:3] + CARRIED[4:])
def test_a_side_input_streams(layers: str) -> None:
    mixer, x = BODIES[layers], torch.randn(2, 8, 8, dtype=torch.float64)
    scale = torch.rand(2, 8, dtype=torch.float64) + 0.5
    state, out = mixer.init_state(2), []
    for cut in (slice(0, 1), slice(1, 5), slice(5, 8)):
        y, state = mixer.stream(x[:, cut], state, call=Call(side={"step_scale": scale[:, cut]}))
        out.append(y)
    torch.testing.assert_close(torch.cat(out, 1), mixer(x, call=Call(side={"step_scale": scale})))


@pytest.mark.parametrize("layers", REFUSED)
@pytest.mark.parametrize("beside", [False, True], ids=["alone", "beside a layer that takes it"])
def test_a_side_input_that_cannot_be_handed_on_is_refused(layers: str, beside: bool) -> None:
    mixer = body(f"[{SCALED}, {layers}]" if beside else f"[{layers}]")
    x, side = torch.randn(1, 7, 8, dtype=torch.float64), {"step_scale": torch.ones(1, 7)}
    mixer(x)
    with pytest.raises(
        ValueError, match=r"call\.side has 'step_scale', which \w+ (cannot hand on|does not take)"
    ):
        mixer(x, call=Call(side=side))
    with pytest.raises(ValueError, match=r"call\.side has 'step_scale'"):
        mixer.stream(x, mixer.init_state(1), call=Call(side=side))


class Pairs(Mixer):
    """Reads facts of pairs of tokens."""

    class Options(Mixer.Options):
        def info(self) -> MixerInfo:
            return MixerInfo(reach=(None, None), side=("pairs",))

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        pairs: Any = inputs.call.side["pairs"]
        index = torch.arange(x.shape[1])
        return (pairs(index[:, None], index).to(x) if callable(pairs) else pairs[..., 0]) @ x


@pytest.mark.parametrize("mask", ["left", "right", "packed"])
def test_facts_of_pairs_do_not_move(mask: str) -> None:
    mixer, x = Pairs(4), torch.randn(2, 6, 4)
    pairs = torch.randn(2, 6, 6, 1)
    assert torch.equal(mixer(x, call=Call(side={"pairs": pairs})), pairs[..., 0] @ x)
    real = torch.tensor([[0, 0, 1, 1, 1, 1]] * 2)
    real = real if mask == "packed" else real.bool() if mask == "left" else real.flip(1).bool()
    with pytest.raises(
        ValueError, match=r"call\.side\['pairs'\] must be of tokens .* got pairs \(2, 6, 6, 1\)"
    ):
        mixer(x, mask=real, call=Call(side={"pairs": pairs}))
    function: Callable[..., Tensor] = lambda q, k: q == k
    assert mixer(x, call=Call(side={"pairs": function})).shape == x.shape  # type: ignore[dict-item]
    with pytest.raises(ValueError, match=r"call\.side\['pairs'\] must be a tensor .* got a function"):
        mixer(x, mask=real, call=Call(side={"pairs": function}))  # type: ignore[dict-item]


def test_prefixes_and_grids_do_not_go_together() -> None:
    spec = {"layers": "[axial(grid=3, axis=0)]", "dim": 8, "causal": False, "prefix": 1}
    with pytest.raises(ValueError, match="prefix must be 0 with mixers on a grid"):
        create_model(spec, vocab_size=5)
    both = {"layers": "[attention]", "encoder": "[axial(grid=3, causal=false)]", "dim": 8, "prefix": 2}
    with pytest.raises(ValueError, match="prefix must be 0 with mixers on a grid"):
        EncoderDecoder(both, vocab_size=5)


@pytest.mark.parametrize("wrapper", ["mixture_of_depths({})", "vip_compression({})", "ranker({})"])
def test_what_leaves_tokens_out_takes_no_grid(wrapper: str) -> None:
    with pytest.raises(ValueError, match="inner must not read tokens as a grid"):
        body("[" + wrapper.format("[axial(grid=3, causal=false)]") + "]", causal=False)


@pytest.mark.parametrize(
    ("part", "options"),
    [
        ("axial", {"grid": 3, "axis": 0}),
        ("axial", {"grid": 3, "axis": 1}),
        ("hyena_nd", {"grid": 3}),
        ("simplified_attention", {"grid": 3, "width": 3, "causal": False}),
        ("factorized_attention", {"grid": 3}),
    ],
)
def test_a_grid_has_no_holes(part: str, options: dict[str, Any]) -> None:
    mixer, x = create_mixer(part, 8, **options), torch.randn(2, 9, 8)
    mask = torch.ones(2, 9, dtype=torch.bool)
    mask[1, 5] = False  # rows of three, three and two cells
    for holes in (mask, mask.long()):
        with pytest.raises(ValueError, match="mask must leave out no token between others"):
            mixer(x, mask=holes)
    mask[1, 6:] = False
    torch.testing.assert_close(mixer(x, mask=mask)[1, :5], mixer(x[1:, :5])[0])


@pytest.mark.parametrize("layers", ["axial(grid=3, inner=routing_attention)"])
def test_notes_of_mixers_on_lines_reach_their_owners(layers: str) -> None:
    mixer, call = body(f"[{layers}]").train(), Call()
    mixer(torch.randn(2, 6, 8, dtype=torch.float64), call=call)
    assert len(call.notes) == 1
