from __future__ import annotations

import pytest
import torch
from torch import Tensor

from anyformer.ops.softmax_scan import SoftmaxState, softmax_scan
from anyformer.ops.softmax_scan.paths import softmax_scan_op

B, H, V = 2, 3, 4
FORMS = {
    "plain": ((B, H, 0), None, None),
    "head": ((B, H, 0), (H,), None),
    "token": ((B, H, 0), (B, H, 0), (H,)),
    "channel": ((B, H, 0, V), (H, V), (H, V)),
    "channel and token": ((B, H, 0, V), (B, H, 0, V), None),
}


def make(T: int, form: str, dtype: torch.dtype = torch.float64) -> dict[str, Tensor]:
    torch.manual_seed(0)
    scores, decay, bonus = ([n or T for n in s] if s else s for s in FORMS[form])
    W = scores[3] if len(scores) == 4 else 1
    parts = {
        "scores": torch.randn(scores, dtype=torch.float64) * 5,
        "v": torch.randn(B, H, T, V, dtype=torch.float64),
        "log_decay": None if decay is None else -torch.rand(decay, dtype=torch.float64),
        "bonus": None if bonus is None else torch.randn(bonus, dtype=torch.float64),
        "m": torch.randn(B, H, W, dtype=torch.float64),
        "u": torch.randn(B, H, V, dtype=torch.float64),
        "w": torch.rand(B, H, W, dtype=torch.float64) + 1,
    }
    return {k: v.to(dtype) for k, v in parts.items() if v is not None}


def run(m: Tensor, u: Tensor, w: Tensor, **parts: Tensor) -> tuple[Tensor, SoftmaxState]:
    return softmax_scan(**parts, initial=SoftmaxState(m, u, w))


@pytest.mark.parametrize("T", [1, 2, 31, 32, 33, 65, 130])
@pytest.mark.parametrize("form", FORMS)
def test_fast_form_is_the_definition(agrees, T, form):
    agrees(run, **make(T, form))


@pytest.mark.parametrize(
    "B, V, shared", [(1, 150, False), (2, 1, False), (1, 150, True), (0, 3, False), (0, 3, True)]
)
def test_awkward_widths_and_an_empty_batch(agrees, B, V, shared):
    torch.manual_seed(0)
    scores = torch.randn((B, 2, 70) if shared else (B, 2, 70, V), dtype=torch.float64)
    shape = (2,) if shared else (2, V)
    decay, bonus = -torch.rand(shape, dtype=torch.float64), torch.randn(shape, dtype=torch.float64)
    v = torch.randn(B, 2, 70, V, dtype=torch.float64)
    agrees(softmax_scan, scores=scores, v=v, log_decay=decay, bonus=bonus)


def test_any_strides(agrees):
    """Heads cut out of a projection, scores computed token by token, one decay for all tokens and samples."""

    def cut(scores: Tensor, v: Tensor, decay: Tensor) -> tuple[Tensor, SoftmaxState]:
        heads = v.unflatten(-1, (3, 8)).transpose(1, 2)
        per_head = scores.transpose(1, 2), heads[..., :4], decay[None, :, None].expand(2, 3, 40)
        per_channel = heads[..., ::2], heads[..., 4:], decay[None, :, None, None].expand(2, 3, 40, 4)
        return tuple(zip(softmax_scan(*per_head), softmax_scan(*per_channel)))

    torch.manual_seed(0)
    shapes = {"scores": (2, 40, 3), "v": (2, 40, 24), "decay": (3,)}
    agrees(cut, **{name: -torch.rand(shape, dtype=torch.float64) for name, shape in shapes.items()})


@pytest.mark.parametrize("scale", [1e3, 1e6])
@pytest.mark.parametrize("form", FORMS)
def test_large_scores_and_strong_decay_neither_overflow_nor_vanish(form, scale):
    parts = make(200, form, torch.float32)
    parts["scores"] = parts["scores"] * scale
    if "log_decay" in parts:
        parts["log_decay"] = parts["log_decay"] * 30
    parts = {k: v.requires_grad_() for k, v in parts.items()}
    y, final = run(**parts)
    (y.sum() + final.u.sum() + final.w.sum()).backward()
    for x in (y, *final, *(p.grad for k, p in parts.items() if k != "m")):
        assert torch.isfinite(x).all()
    values = torch.cat((parts["v"], (parts["u"] / parts["w"])[:, :, None]), 2)
    assert y.abs().max() <= values.abs().max() * 1.001


def test_prefix_softmax():
    """Without decay the last output is one softmax over everything."""
    parts = make(40, "plain")
    y, _ = softmax_scan(parts["scores"], parts["v"])
    expected = torch.einsum("bht,bhtv->bhv", parts["scores"].softmax(-1), parts["v"])
    torch.testing.assert_close(y[:, :, -1], expected)


@pytest.mark.parametrize("form", FORMS)
def test_pieces_chained_are_the_whole_with_gradients_through_the_state(form):
    parts = make(140, form)
    parts = {k: v.requires_grad_() for k, v in parts.items() if k not in "muw"}
    y, _ = softmax_scan(**parts)
    state, pieces = None, []
    for start, stop in ((0, 1), (1, 1), (1, 3), (3, 70), (70, 140)):
        part = {k: v[:, :, start:stop] if v.dim() > 2 else v for k, v in parts.items()}
        out, state = softmax_scan(**part, initial=state)
        pieces.append(out)
    torch.testing.assert_close(torch.cat(pieces, 2), y, rtol=1e-9, atol=1e-10)
    whole = torch.autograd.grad(y.square().sum(), list(parts.values()))
    chained = torch.autograd.grad(torch.cat(pieces, 2).square().sum(), list(parts.values()))
    torch.testing.assert_close(chained, whole, rtol=1e-9, atol=1e-10)


def test_left_out_tokens_change_nothing_and_nothing_seen_is_zero():
    parts = make(10, "plain")
    scores = parts["scores"].clone()
    scores[:, :, :3] = -torch.inf
    scores[:, :, 6:] = -torch.inf
    scores.requires_grad_()
    y, final = softmax_scan(scores, parts["v"])
    assert torch.equal(y[:, :, :3], torch.zeros_like(y[:, :, :3]))
    inner, inner_final = softmax_scan(scores[:, :, 3:6], parts["v"][:, :, 3:6])
    torch.testing.assert_close(y[:, :, 3:6], inner)
    torch.testing.assert_close(final, inner_final)
    assert torch.isfinite(torch.autograd.grad(y.sum(), scores)[0]).all()


def test_no_tokens():
    parts = make(0, "channel")
    y, final = run(**parts)
    assert y.shape == (B, H, 0, V)
    assert all(torch.equal(x, parts[k]) for k, x in zip("muw", final))


def test_compiles_as_one_graph():
    parts = make(70, "channel")
    compiled = torch.compile(lambda parts: run(**parts), fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(parts)[0], run(**parts)[0])


@pytest.mark.parametrize("form", FORMS)
def test_compiles_with_its_gradient(form):
    parts = {k: v.requires_grad_() for k, v in make(70, form).items() if k not in "muw"}
    compiled = torch.compile(
        lambda parts: softmax_scan(**parts)[0].sum(), fullgraph=True, backend="aot_eager"
    )
    grads = torch.autograd.grad(compiled(parts), list(parts.values()))
    torch.testing.assert_close(
        grads, torch.autograd.grad(softmax_scan(**parts)[0].sum(), list(parts.values()))
    )


def test_opcheck():
    parts = [v.requires_grad_() for v in make(40, "channel").values()]
    scores, v, decay, bonus, m, u, w = parts
    arguments = (scores, v, decay[None, :, None], bonus, m.detach(), u, w)
    torch.library.opcheck(
        softmax_scan_op, arguments, test_utils=("test_schema", "test_faketensor", "test_aot_dispatch_static")
    )


def test_errors():
    parts = make(4, "plain")
    with pytest.raises(ValueError, match="scores"):
        softmax_scan(parts["scores"][:, :, 1:], parts["v"])
    with pytest.raises(ValueError, match="log_decay must have shape"):
        softmax_scan(parts["scores"], parts["v"], torch.zeros(7))
    with pytest.raises(ValueError, match="bonus must have shape"):
        softmax_scan(parts["scores"], parts["v"], bonus=torch.zeros(7))
