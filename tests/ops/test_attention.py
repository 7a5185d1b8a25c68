from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

import anyformer.ops.attention.tiles as module
from anyformer.ops import use_definition, use_native
from anyformer.ops.attention import attention, attention_definition, merge


def make(
    B: int, H: int, G: int, T: int, S: int, K: int, V: int, dtype: torch.dtype = torch.float64
) -> list[Tensor]:
    torch.manual_seed(T * 31 + S)
    shapes = ((B, H, T, K), (B, G, S, K), (B, G, S, V))
    return [torch.randn(shape, dtype=dtype, requires_grad=True) for shape in shapes]


def compare(tensors: list[Tensor], tolerance: float = 1e-10, **options: object) -> None:
    """Outputs, log-sum-exps and every gradient of both forms agree, and nothing is NaN."""
    results = []
    for form in (attention, attention_definition):
        y = form(*tensors[:3], **options)
        parts = list(y) if isinstance(y, tuple) else [y]
        torch.manual_seed(1)
        finite = [part.masked_fill(part == -torch.inf, 0.0) for part in parts]
        loss = sum((part * torch.randn(part.shape, dtype=part.dtype)).sum() for part in finite)
        results.append((parts, torch.autograd.grad(loss, tensors, allow_unused=True)))
    for a, b in itertools.chain(zip(results[0][0], results[1][0]), zip(results[0][1], results[1][1])):
        assert not a.isnan().any()
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


@pytest.fixture(params=[2**21, 300], ids=["one tile", "many tiles"])
def tiles(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TILE_ELEMENTS", request.param)


@pytest.mark.parametrize(
    "normalizer, return_lse",
    [
        ("softmax", False),
        ("softmax", True),
        ("sigmoid", False),
        ("laplace", False),
        ("silu", False),
        ("softmax_one", False),
    ],
)
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(
    "H, G, T, S, K, V", [(4, 4, 17, 17, 5, 5), (4, 2, 1, 7, 5, 3), (6, 1, 13, 63, 3, 3), (2, 2, 1, 1, 1, 1)]
)
def test_fast_equals_definition(
    tiles: None,
    normalizer: str,
    return_lse: bool,
    causal: bool,
    H: int,
    G: int,
    T: int,
    S: int,
    K: int,
    V: int,
) -> None:
    tensors = make(2, H, G, T, S, K, V)
    compare(tensors, causal=causal, normalizer=normalizer, return_lse=return_lse)
    visible = torch.rand(2, 1, T, S) > 0.4
    visible[0, :, T // 2] = False  # a query that sees nothing
    compare(tensors, causal=causal, normalizer=normalizer, return_lse=return_lse, visible=visible, scale=0.3)


@pytest.mark.parametrize("shape", [(2, 4, 9, 11), (1, 4, 1, 11), (4, 9, 1), (9, 11), (2, 1, 1, 11)])
@pytest.mark.parametrize("causal, masked, return_lse", list(itertools.product([False, True], repeat=3)))
def test_bias_and_its_gradient(
    tiles: None, shape: tuple[int, ...], causal: bool, masked: bool, return_lse: bool
) -> None:
    tensors = make(2, 4, 2, 9, 11, 4, 4)
    bias = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    visible = torch.rand(2, 1, 1, 11) > 0.5 if masked else None
    compare([*tensors, bias], causal=causal, bias=bias, visible=visible, return_lse=return_lse)
    compare(tensors, causal=causal, bias=bias.detach(), visible=visible, return_lse=return_lse)


@pytest.mark.parametrize("native", [True, False])
@pytest.mark.parametrize("causal, masked, return_lse", list(itertools.product([False, True], repeat=3)))
def test_places_and_their_gradient(
    tiles: None, native: bool, causal: bool, masked: bool, return_lse: bool
) -> None:
    tensors = make(2, 4, 2, 9, 11, 4, 3)
    q_place = torch.randn(1, 4, 9, dtype=torch.float64, requires_grad=True)
    k_place = torch.randn(2, 1, 11, dtype=torch.float64, requires_grad=True)
    visible = torch.rand(2, 1, 1, 11) > 0.5 if masked else None
    bias = torch.randn(9, 11, dtype=torch.float64) if masked else None

    results = []
    for form in (attention, attention_definition):
        with use_native(native):
            options = {"causal": causal, "visible": visible, "bias": bias, "return_lse": return_lse}
            y = form(*tensors, places=(q_place, k_place), **options)
        y, lse = y if return_lse else (y, torch.zeros(()))
        loss = y.sin().sum() + lse.masked_fill(lse == -torch.inf, 0.0).sin().sum()
        results.append((y, lse, *torch.autograd.grad(loss, [*tensors, q_place, k_place])))
    for a, b in zip(*results):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("causal", [False, True])
def test_a_function_of_the_scores(tiles: None, causal: bool) -> None:
    """Of what was added to them too, and not of what is hidden."""
    tensors = make(2, 4, 2, 9, 11, 4, 3)
    bias = torch.randn(9, 11, dtype=torch.float64, requires_grad=True)
    options = {"causal": causal, "bias": bias, "score": lambda s: 2 * torch.tanh(s / 2)}
    compare([*tensors, bias], **options, visible=torch.rand(2, 1, 1, 11) > 0.3)
    q, k, v = (t.detach() for t in tensors)
    capped = (q @ k.repeat_interleave(2, 1).mT / 2 + bias).div(2).tanh() * 2
    close = attention(q, k, v, bias=bias, score=options["score"])
    torch.testing.assert_close(close, capped.softmax(-1) @ v.repeat_interleave(2, 1))


@pytest.mark.parametrize("given", ["nothing", "visible", "bias", "bias a head"])
def test_one_query_of_grouped_heads(given: str) -> None:
    q, k, v = make(3, 6, 2, 1, 9, 5, 5)
    options = {
        "nothing": {"causal": True},
        "visible": {"visible": torch.arange(9) < torch.tensor([4, 9, 0])[:, None, None, None]},
        "bias": {"bias": torch.randn(3, 1, 1, 9, dtype=torch.float64)},
        "bias a head": {"bias": torch.randn(1, 6, 1, 9, dtype=torch.float64)},
    }[given]
    compare([q, k, v], **options)


def test_a_query_that_sees_nothing_is_zero() -> None:
    q, k, v = make(1, 2, 2, 5, 5, 4, 4)
    visible = torch.ones(5, 5, dtype=torch.bool)
    visible[3] = False
    y, lse = attention(q, k, v, visible=visible, return_lse=True)
    fused = attention(q, k, v, visible=visible)
    assert (y[:, :, 3] == 0).all() and (fused[:, :, 3] == 0).all()
    assert (lse[:, :, 3] == -torch.inf).all() and lse[:, :, :3].isfinite().all()
    (grad,) = torch.autograd.grad(y.sum() + fused.sum(), q)
    assert (grad[:, :, 3] == 0).all() and grad.isfinite().all()


@pytest.mark.parametrize("T, S", [(0, 5), (0, 0), (4, 0)])
def test_empty(T: int, S: int) -> None:
    q, k, v = make(2, 2, 1, T, S, 4, 3)
    for form in (attention, attention_definition):
        y, lse = form(q, k, v, return_lse=True)
        assert y.shape == (2, 2, T, 3) and lse.shape == (2, 2, T)
        assert (y == 0).all() and (lse == -torch.inf).all()


@pytest.mark.parametrize("return_lse", [False, True])
@pytest.mark.parametrize("dtype, tolerance", [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)])
def test_low_precision(dtype: torch.dtype, tolerance: float, return_lse: bool) -> None:
    tensors = make(2, 4, 2, 33, 33, 8, 8, dtype)
    y = attention(*tensors, causal=True, return_lse=return_lse)
    exact = attention_definition(*(x.double() for x in tensors), causal=True, return_lse=return_lse)
    if return_lse:
        (y, lse), (exact, exact_lse) = y, exact
        assert lse.dtype == torch.float32
        torch.testing.assert_close(lse.double(), exact_lse, rtol=tolerance, atol=tolerance)
    assert y.dtype == dtype
    torch.testing.assert_close(y.double(), exact, rtol=tolerance, atol=tolerance)


def test_merge_of_parts_is_the_whole_and_associative() -> None:
    q, k, v = make(2, 4, 2, 7, 20, 4, 5)
    visible = torch.rand(2, 1, 7, 20) > 0.3
    visible[0, :, 2, 5:11] = False  # a part that sees nothing
    visible[1, :, 4] = False
    whole = attention(q, k, v, visible=visible, return_lse=True)
    parts = [
        attention(q, k[:, :, a:b], v[:, :, a:b], visible=visible[..., a:b], return_lse=True)
        for a, b in ((0, 5), (5, 11), (11, 20))
    ]
    flat, left, right = merge(parts), merge([merge(parts[:2]), parts[2]]), merge([parts[0], merge(parts[1:])])
    for merged in (flat, left, right):
        for a, b in zip(merged, whole):
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)
    lse = whole[1].masked_fill(whole[1] == -torch.inf, 0.0)
    merged_lse = flat[1].masked_fill(flat[1] == -torch.inf, 0.0)
    expected = torch.autograd.grad(whole[0].square().sum() + lse.sin().sum(), (q, k, v))
    for a, b in zip(
        torch.autograd.grad(flat[0].square().sum() + merged_lse.sin().sum(), (q, k, v)), expected
    ):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("normalizer", ["softmax", "sigmoid", "laplace", "silu", "softmax_one"])
def test_gradcheck(tiles: None, normalizer: str) -> None:
    q, k, v = make(1, 2, 1, 5, 6, 2, 3)
    bias = torch.randn(2, 1, 6, dtype=torch.float64, requires_grad=True)
    both = normalizer == "softmax"
    assert torch.autograd.gradcheck(
        lambda q, k, v, bias: attention(
            q, k, v, causal=True, bias=bias, normalizer=normalizer, return_lse=both
        ),
        (q, k, v, bias),
    )


def test_blocks_hold_no_square_of_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a log-sum-exp, what the forward keeps for the backward does not grow with T * S."""
    monkeypatch.setattr(module, "TILE_ELEMENTS", 2**10)
    kept: dict[int, int] = {}

    def pack(x: Tensor) -> Tensor:
        kept[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes() // x.element_size()
        return x

    q, k, v = make(1, 2, 2, 128, 128, 4, 4)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        y, lse = attention(q, k, v, causal=True, return_lse=True)
        y, lse = y.sin(), lse.sin()
    assert 2 * 128 * 4 <= sum(kept.values()) <= 2 * 128 * 128 // 4


@pytest.mark.parametrize(
    "change, message",
    [
        (
            {"normalizer": "softmux"},
            "normalizer must be one of softmax, sigmoid, laplace, silu, softmax_one; got 'softmux'",
        ),
        ({"visible": torch.ones(3, 6, dtype=torch.bool)}, r"visible must be broadcastable to \(2, 4, 5, 6\)"),
        ({"visible": torch.ones(5, 6)}, "visible must be bool, got torch.float32"),
        ({"bias": torch.ones(5, 1, 1, 5, 6)}, "bias must be broadcastable"),
        ({"normalizer": "sigmoid", "return_lse": True}, "return_lse needs normalizer='softmax'"),
        ({"k": torch.ones(2, 3, 6, 4)}, "q must have a multiple of k's 3 heads, got 4|v must have shape"),
        ({"k": torch.ones(2, 2, 6, 5)}, "k must have shape"),
        ({"v": torch.ones(2, 2, 5, 4)}, "v must have shape"),
        ({"q": torch.ones(2, 5, 4)}, "q must have 4 axes"),
        (
            {"places": (torch.ones(2, 4, 5), torch.ones(2, 4, 5))},
            "places of the keys must be floats of shape",
        ),
        ({"q": torch.ones(2, 4, 7, 4), "causal": True}, "causal needs at least as many keys"),
    ],
)
@pytest.mark.parametrize("form", [attention, attention_definition])
def test_errors(form: object, change: dict[str, object], message: str) -> None:
    arguments = {
        "q": torch.ones(2, 4, 5, 4),
        "k": torch.ones(2, 2, 6, 4),
        "v": torch.ones(2, 2, 6, 4),
        **change,
    }
    with pytest.raises(ValueError, match=message):
        form(arguments.pop("q"), arguments.pop("k"), arguments.pop("v"), **arguments)  # type: ignore[operator]


def test_who_asks_for_a_second_derivative_is_told_how_to_get_it() -> None:
    x = torch.randn(1, 2, 5, 4, dtype=torch.float64, requires_grad=True)

    def slope(x: Tensor) -> Tensor:
        return torch.autograd.grad(attention(x, x, x).sum(), x, create_graph=True)[0]

    with pytest.warns(UserWarning, match=r"use_definition\(\)"):
        slope(x)
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        (by_hint,) = torch.autograd.grad(slope(x).square().sum(), x)
    with use_definition():
        (expected,) = torch.autograd.grad(slope(x).square().sum(), x)
    torch.testing.assert_close(by_hint, expected)
