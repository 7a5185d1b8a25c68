from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from anyformer import kernels
from anyformer.ops import use_definition
from anyformer.ops.linear_attention import linear_attention

B, H, K, V = 2, 3, 5, 4
DECAYS = {"none": None, "head": (H,), "scalar": (B, H, 0), "vector": (B, H, 0, K)}


def make(
    T: int, decay: str, normalize: bool = False, dtype: torch.dtype = torch.float64
) -> dict[str, Tensor | None]:
    torch.manual_seed(0)
    shape = DECAYS[decay]
    log_decay = (
        None if shape is None else logsigmoid(torch.randn([n or T for n in shape], dtype=torch.float64))
    )
    feature = torch.rand if normalize else torch.randn
    parts = {
        "q": feature(B, H, T, K, dtype=torch.float64),
        "k": feature(B, H, T, K, dtype=torch.float64),
        "v": torch.randn(B, H, T, V, dtype=torch.float64),
        "log_decay": log_decay,
        "initial": torch.rand(B, H, K, V + normalize, dtype=torch.float64),
    }
    return {k: None if v is None else v.to(dtype) for k, v in parts.items()}


@pytest.mark.parametrize("T", [1, 2, 63, 65, 130])
@pytest.mark.parametrize("decay", DECAYS)
@pytest.mark.parametrize("normalize", [False, True])
def test_fast_form_is_the_definition(agrees, T, decay, normalize):
    agrees(linear_attention, normalize=normalize, scale=0.7, **make(T, decay, normalize))


def test_more_chunks_than_a_scan_runs_directly(agrees):
    agrees(linear_attention, **make(64 * 35 + 1, "vector"))


@pytest.mark.parametrize("decay", DECAYS)
@pytest.mark.parametrize("normalize", [False, True])
def test_any_width_and_any_layout(agrees, decay, normalize):
    """Widths around the vectors', tensors as split heads leave them, a length with several kept states."""
    torch.manual_seed(0)
    T, K, V = 261, 33, 70
    parts = make(T, decay, normalize)
    parts |= {
        name: torch.rand(B, T, H, width, dtype=torch.float64).transpose(1, 2)
        for name, width in (("q", K), ("k", K), ("v", V))
    }
    parts["initial"] = torch.rand(B, H, K, V + normalize, dtype=torch.float64)
    if decay == "vector":
        parts["log_decay"] = -torch.rand(B, T, K, H, dtype=torch.float64).permute(0, 3, 1, 2)
    agrees(linear_attention, normalize=normalize, **parts)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("normalize", [False, True])
def test_threads_beyond_the_heads_share_the_values(threads, normalize):
    torch.manual_seed(0)
    q, k = torch.rand(2, 1, 1, 90, 8, dtype=torch.float64)
    v = torch.randn(1, 1, 90, 150, dtype=torch.float64)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        y, final = linear_attention(q, k, v, normalize=normalize)
    finally:
        torch.set_num_threads(before)
    with use_definition():
        expected = linear_attention(q, k, v, normalize=normalize)
    torch.testing.assert_close((y, final), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("decay", DECAYS)
@pytest.mark.parametrize("T", [1, 40])
def test_the_same_with_and_without_a_gradient(decay, T):
    parts = make(T, decay)
    plain = linear_attention(**parts)
    watched = linear_attention(**{**parts, "q": parts["q"].clone().requires_grad_()})
    assert all(torch.equal(a, b) for a, b in zip(plain, watched))


def test_an_empty_batch():
    parts = {k: v if v is None or v.dim() == 1 else v[:0] for k, v in make(20, "head").items()}
    y, final = linear_attention(**parts)
    assert y.shape == (0, H, 20, V) and final.shape == (0, H, K, V)


def test_a_decay_to_nothing_forgets_exactly():
    parts = make(50, "vector")
    parts["log_decay"][:, :, 30] = -1e30
    y, final = linear_attention(**parts)
    late = {k: v[:, :, 30:] for k, v in parts.items() if k != "initial"}
    fresh = linear_attention(**late)
    torch.testing.assert_close((y[:, :, 30:], final), fresh, rtol=1e-9, atol=1e-12)


@pytest.mark.skipif(kernels.status().library is None, reason="the PyTorch form subtracts sums, which cancel")
@pytest.mark.parametrize("decay", ["scalar", "vector"])
def test_the_gradient_of_a_decay_after_strong_decays_is_not_noise(decay):
    """What reaches a decay is a product of later decays, far below the rounding of the other gradients."""
    parts = make(64, decay, dtype=torch.float32)
    parts["log_decay"] = torch.full_like(parts["log_decay"], -20.0).requires_grad_()
    linear_attention(**parts)[0].sum().backward()
    exact = {k: v.detach().double() for k, v in parts.items()}
    exact["log_decay"].requires_grad_()
    with use_definition():
        linear_attention(**exact)[0].sum().backward()
    wanted = exact["log_decay"].grad
    assert (parts["log_decay"].grad - wanted).abs().max() < 1e-5 * wanted.abs().max()


@pytest.mark.parametrize("T", [1, 65])
@pytest.mark.parametrize("normalize", [False, True])
def test_bidirectional(agrees, T, normalize):
    agrees(linear_attention, causal=False, normalize=normalize, **make(T, "none", normalize))


@pytest.mark.parametrize("decay", DECAYS)
def test_float32_tolerance(agrees, decay):
    agrees(linear_attention, 2e-5, **make(130, decay, dtype=torch.float32))


@pytest.mark.parametrize("decay", ["head", "scalar", "vector"])
@pytest.mark.parametrize("strength", [-30.0, -1e4])
def test_strong_decay_neither_overflows_nor_loses_accuracy(agrees, decay, strength):
    parts = make(200, decay, dtype=torch.float32)
    parts["log_decay"] = torch.full_like(parts["log_decay"], strength)
    parts["log_decay"][..., -1] = -0.1  # the last token, channel or head: a weak decay beside the strong ones
    agrees(linear_attention, 5e-5, **parts)


@pytest.mark.parametrize("decay", DECAYS)
def test_pieces_chained_are_the_whole(decay):
    parts = make(140, decay)
    initial = parts.pop("initial")
    y, final = linear_attention(**parts, initial=initial)
    state, pieces = initial, []
    for start, stop in ((0, 1), (1, 1), (1, 3), (3, 70), (70, 140)):
        part = {k: v if v is None or v.dim() == 1 else v[:, :, start:stop] for k, v in parts.items()}
        out, state = linear_attention(**part, initial=state)
        pieces.append(out)
    torch.testing.assert_close(torch.cat(pieces, 2), y, rtol=1e-9, atol=1e-10)
    torch.testing.assert_close(state, final, rtol=1e-9, atol=1e-10)


def test_no_tokens():
    parts = make(0, "scalar")
    y, final = linear_attention(**parts)
    assert y.shape == (B, H, 0, V) and torch.equal(final, parts["initial"])


def test_masked_tokens_leave_the_state():
    parts = make(70, "vector")
    for name in ("k", "v", "log_decay"):
        parts[name][:, :, 66:] = 0
    final = linear_attention(**parts)[1]
    short = {k: v if k == "initial" else v[:, :, :66] for k, v in parts.items()}
    torch.testing.assert_close(final, linear_attention(**short)[1], rtol=1e-9, atol=1e-10)


def test_normalised_over_nothing_is_zero():
    zeros = torch.zeros(1, 1, 3, 2, requires_grad=True)
    y, _ = linear_attention(zeros, zeros, torch.ones(1, 1, 3, 2), normalize=True)
    y.sum().backward()
    assert torch.equal(y, torch.zeros_like(y)) and torch.isfinite(zeros.grad).all()


def test_half_precision_accumulates_in_float32():
    parts = make(200, "scalar", dtype=torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        y, final = linear_attention(**parts)
    wide = linear_attention(**{k: v.double() for k, v in parts.items()})
    assert y.dtype == torch.bfloat16 and final.dtype == torch.float32
    torch.testing.assert_close(final.double(), wide[1], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("decay", DECAYS)
def test_compiles_as_one_graph(decay):
    parts = make(70, decay)
    compiled = torch.compile(lambda parts: linear_attention(**parts), fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(parts)[0], linear_attention(**parts)[0])


def test_errors():
    parts = make(4, "none")
    with pytest.raises(ValueError, match="q and k must share"):
        linear_attention(**{**parts, "k": parts["k"][..., :1]})
    with pytest.raises(ValueError, match="log_decay must have shape"):
        linear_attention(**{**parts, "log_decay": torch.zeros(7)})
    with pytest.raises(ValueError, match="a decay needs an order"):
        linear_attention(**make(4, "head"), causal=False)
    with pytest.raises(ValueError, match="initial must have shape"):
        linear_attention(**parts, normalize=True)
