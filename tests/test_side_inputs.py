"""Side inputs go where their tokens go, or are refused; so is what would move tokens on a grid."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from anyformer import Call, Mixer, MixerInfo, SideInput, create_mixer
from anyformer.channels import channels
from anyformer.contract import Inputs
from anyformer.laws import Case, cases_of
from anyformer.mixers import mixers
from anyformer.models import EncoderDecoder, create_model
from anyformer.stack import combine
from anyformer.wrappers.axial_decoder import AxialDecoder
from anyformer.wrappers.mixture_of_depths import MixtureOfDepths
from anyformer.wrappers.order import Order
from anyformer.wrappers.ranker import Ranker
from anyformer.wrappers.remamba import ReMamba
from anyformer.wrappers.two_level import TwoLevel
from anyformer.wrappers.vip_compression import VipCompression

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


def reader(kind: SideInput) -> Mixer:
    """A mixer that reads one side input ``fact``: of pairs as a matrix, of others as a scale."""

    class Reads(Mixer):
        class Options(Mixer.Options):
            def info(self) -> MixerInfo:
                return MixerInfo(reach=(None, None), side={"fact": kind})

        def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
            fact: Any = inputs.call.side["fact"]
            if kind.of == "pair":
                index = torch.arange(x.shape[1])
                return (fact(index[:, None], index).to(x) if callable(fact) else fact[..., 0]) @ x
            numbers = fact[..., None].flatten(1 if kind.of == "sample" else 2)
            told = (numbers * torch.arange(1, 1 + numbers.shape[-1])).sum(-1)
            return x * (told[:, None, None] if kind.of == "sample" else told[..., None])

    return Reads(4)


@settings(derandomize=True, max_examples=40, deadline=None)
@given(st.integers(2, 5), st.lists(st.integers(1, 5), max_size=2), st.data())
def test_a_fact_goes_where_it_belongs_whatever_its_shape(T: int, own: list[int], data: st.DataObject) -> None:
    """Facts of samples stay and those of tokens move, even where they have as many numbers as there are tokens."""
    of = data.draw(st.sampled_from(["token", "sample"]))
    own = [data.draw(st.sampled_from([T, n])) for n in own]
    mixer, x = reader(SideInput(of, axes=len(own))), torch.randn(2, T, 4)
    fact = torch.randn(2, *([T] if of == "token" else []), *own)
    ids = torch.tensor([data.draw(st.lists(st.integers(0, 2), min_size=T, max_size=T)) for _ in range(2)])
    mask = data.draw(st.sampled_from([ids, ids > 0]))
    y = mixer(x, mask=mask, call=Call(side={"fact": fact}))
    for b in range(2):
        for n in mask[b].unique().tolist():
            here = mask[b] == n
            mine = fact[b : b + 1, here] if of == "token" else fact[b : b + 1]
            alone = mixer(x[b : b + 1, here], call=Call(side={"fact": mine}))
            torch.testing.assert_close(y[b, here], alone[0] if n else torch.zeros_like(alone[0]))


@settings(derandomize=True, max_examples=20, deadline=None)
@given(st.integers(1, 6), st.booleans(), st.data())
def test_facts_of_pairs_move_along_both_axes(T: int, packed: bool, data: st.DataObject) -> None:
    """Masked or packed, each sample's tokens keep what is known of each pair of them."""
    mixer, x = reader(SideInput("pair", axes=1)), torch.randn(2, T, 4)
    pairs = torch.randn(2, T, T, 1)
    torch.testing.assert_close(mixer(x, call=Call(side={"fact": pairs})), pairs[..., 0] @ x)
    ids = torch.tensor([data.draw(st.lists(st.integers(0, 2), min_size=T, max_size=T)) for _ in range(2)])
    mask = ids if packed else ids > 0
    y = mixer(x, mask=mask, call=Call(side={"fact": pairs}))
    for b in range(2):
        for n in mask[b].unique().tolist():
            here = mask[b] == n
            alone = mixer(x[b : b + 1, here], call=Call(side={"fact": pairs[b : b + 1, here][:, :, here]}))
            torch.testing.assert_close(y[b, here], alone[0] if n else torch.zeros_like(alone[0]))


@pytest.mark.parametrize("mask", ["left", "right", "packed"])
def test_functions_of_pairs_do_not_move(mask: str) -> None:
    mixer, x = reader(SideInput("pair")), torch.randn(2, 6, 4)
    real = torch.tensor([[0, 0, 1, 1, 1, 1]] * 2)
    real = real if mask == "packed" else real.bool() if mask == "left" else real.flip(1).bool()
    function: Callable[..., Tensor] = lambda q, k: q == k
    assert mixer(x, call=Call(side={"fact": function})).shape == x.shape
    with pytest.raises(
        ValueError, match=r"call\.side has 'fact', a function of pairs of tokens, which cannot go"
    ):
        mixer(x, mask=real, call=Call(side={"fact": function}))


@pytest.mark.parametrize(
    "layers", ["order([message_passing], grid=2, axes=1-0)", "order([graph_attention], grid=2, reverse=true)"]
)
def test_wrappers_that_reorder_tokens_move_their_pairs(layers: str) -> None:
    """A mixer of graphs gives in another order what it gives in this one."""
    x, edges = torch.randn(2, 6, 8, dtype=torch.float64), torch.randint(-2, 3, (2, 6, 6))
    wrapper = body(f"[{layers}]").stack.sublayers[0]
    call = Call(side={"edges": edges})
    torch.testing.assert_close(wrapper(x, call=call), wrapper.inner(x, call=call))


def test_tokens_in_front_have_no_pairs() -> None:
    mixer = body("[message_passing]", causal=False, prefix=2)
    x, edges = torch.randn(2, 5, 8, dtype=torch.float64), torch.randint(0, 3, (2, 5, 5))
    alone = body("[message_passing]", causal=False)
    alone.load_state_dict({k: v for k, v in mixer.state_dict().items() if k != "prefix"})
    call = Call(side={"edges": edges})
    torch.testing.assert_close(mixer(x, call=call), alone(x, call=call))


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        (SideInput(), torch.ones(2, 3, 3), r"\(2, 3\), got \(2, 3, 3\)"),
        (SideInput(), torch.ones(2, 4, 3, 3), r"\(2, 3\), got \(2, 4, 3, 3\)"),
        (SideInput(), torch.ones(2, 2), r"\(2, 3\), got \(2, 2\)"),
        (SideInput(), [[1.0] * 3] * 2, r"\(2, 3\), got list"),
        (SideInput(), torch.ones(2, 3).numpy(), r"\(2, 3\), got ndarray"),
        (SideInput(), lambda q, k: q == k, r"\(2, 3\), got function"),
        (SideInput(axes=1), torch.ones(2, 3), r"\(2, 3, \*\), got \(2, 3\)"),
        (SideInput("sample"), torch.ones(2, 3), r"\(2\), got \(2, 3\)"),
        (SideInput("sample", axes=1), torch.ones(3, 3), r"\(2, \*\), got \(3, 3\)"),
        (SideInput("pair"), torch.ones(2, 3), r"\(2, 3, 3\), got \(2, 3\)"),
    ],
)
def test_a_fact_of_another_shape_is_refused(kind: SideInput, value: Any, expected: str) -> None:
    with pytest.raises(ValueError, match=r"call\.side\['fact'\] must be a tensor of shape " + expected):
        reader(kind)(torch.ones(2, 3, 4), call=Call(side={"fact": value}))


def test_names_alone_do_not_say_what_side_inputs_are() -> None:
    with pytest.raises(ValueError, match=r"side must be a dict of SideInput by name, got \('fact',\)"):
        MixerInfo(reach=(0, 0), side=("fact",))  # type: ignore[arg-type]
    infos = [MixerInfo(reach=(0, 0), side={"fact": kind}) for kind in (SideInput(), SideInput("sample"))]
    with pytest.raises(ValueError, match="layers must agree on the side input 'fact'"):
        combine(infos)


def test_tokens_in_front_are_as_if_nothing_were_known_of_them() -> None:
    """Side inputs that tell nothing, beside a prefix of which nothing can be told, are as if none were given."""
    for layers, side in ((f"[{SCALED}]", "step_scale"), ("[dynamic_positions([attention])]", "order")):
        mixer, x = body(layers, causal=False, prefix=2), torch.randn(2, 5, 8, dtype=torch.float64)
        silent = torch.full((2, 5), {"step_scale": 1, "order": -1}[side])
        call = Call(side={side: silent})
        torch.testing.assert_close(mixer(x, call=call), mixer(x))
        assert not call.losses.get("order", torch.zeros(())).any()


def test_lines_forget_what_side_inputs_told_of_those_above() -> None:
    """A row that begins anew keeps what is told of its own tokens, those that came in another call included."""
    mixer = body("[axial(grid=4, axis=1)]")
    x, part = torch.randn(2, 10, 8, dtype=torch.float64), torch.randint(3, (2, 10))
    state, out = mixer.init_state(2), []
    for t in range(10):
        y, state = mixer.stream(x[:, t : t + 1], state, call=Call(side={"part": part[:, t : t + 1]}))
        out.append(y)
    torch.testing.assert_close(torch.cat(out, 1), mixer(x, call=Call(side={"part": part})))


GRIDS = [
    case
    for target in (*mixers.ids(), *channels.ids())
    for case in cases_of(target)
    if case.info.grid and not case.info.context
]


@pytest.mark.parametrize("case", GRIDS, ids=lambda case: case.label)
def test_nothing_moves_the_tokens_of_a_grid(case: Case) -> None:
    """No wrapper that puts tokens in front, leaves some out or reorders them takes a mixer that reads a grid."""
    grid, plain = case.make(), create_mixer("mamba", 16)
    wrappers: list[Callable[[Mixer], Mixer]] = [
        lambda m: TwoLevel(16, m, plain, patch=2),
        lambda m: TwoLevel(16, plain, m, patch=2),
        lambda m: AxialDecoder(16, plain, m, columns=3),
        lambda m: Order(16, m, grid=3, axes="1-0"),
        lambda m: Order(16, m, grid=3, reverse=True),
        lambda m: MixtureOfDepths(16, m),
        lambda m: ReMamba(16, m),
        lambda m: Ranker(16, m),
        lambda m: VipCompression(16, m),
    ]
    for wrap in wrappers:
        with pytest.raises(ValueError, match="must not read tokens as a grid|must be (causal|bidirectional)"):
            wrap(grid)


def test_a_compiled_grid_has_no_holes_either() -> None:
    mixer, x = create_mixer("axial", 8, grid=3, axis=0).eval(), torch.randn(2, 9, 8)
    mask = torch.ones(2, 9, dtype=torch.bool)
    compiled = torch.compile(mixer, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x, mask=mask), mixer(x))
    mask[1, 5] = False
    with pytest.raises(RuntimeError, match="mask must not leave out a token between others"):
        compiled(x, mask=mask)


def test_prefixes_and_grids_do_not_go_together() -> None:
    spec = {"layers": "[axial(grid=3, axis=0)]", "dim": 8, "causal": False, "prefix": 1}
    with pytest.raises(ValueError, match="prefix must be 0 with mixers on a grid"):
        create_model(spec, vocab_size=5)
    both = {"layers": "[attention]", "encoder": "[axial(grid=3, causal=false)]", "dim": 8, "prefix": 2}
    with pytest.raises(ValueError, match="prefix must be 0 with mixers on a grid"):
        EncoderDecoder(both, vocab_size=5)


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
        with pytest.raises(ValueError, match="mask must not leave out a token between others"):
            mixer(x, mask=holes)
    mask[1, 6:] = False
    torch.testing.assert_close(mixer(x, mask=mask)[1, :5], mixer(x[1:, :5])[0])


@pytest.mark.parametrize("layers", ["axial(grid=3, inner=routing_attention)"])
def test_notes_of_mixers_on_lines_reach_their_owners(layers: str) -> None:
    mixer, call = body(f"[{layers}]").train(), Call()
    mixer(torch.randn(2, 6, 8, dtype=torch.float64), call=call)
    assert len(call.notes) == 1


@pytest.mark.parametrize("name", ["message_passing", "graph_attention"])
def test_what_is_required_is_missed_by_name(name: str) -> None:
    mixer, x = create_mixer(name, 8), torch.randn(1, 3, 8)
    for call in (None, Call()):
        with pytest.raises(
            ValueError, match=rf"call\.side must have 'edges': {name} does not run without it"
        ):
            mixer(x, call=call)
