from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from anyformer import kernels
from anyformer.mixers import create_mixer
from anyformer.ops import use_native
from anyformer.ops.attention import attention
from anyformer.ops.attention.spans import attend, can_attend
from anyformer.ops.masks import Global, Window
from anyformer.ops.sparse_attention import sparse_attention

pytestmark = pytest.mark.skipif(kernels.status().library is None, reason="there are no native kernels here")


def make(
    B: int, H: int, G: int, T: int, S: int, K: int, V: int, dtype: torch.dtype = torch.float64
) -> list[Tensor]:
    torch.manual_seed(T + S)
    shapes = ((B, H, T, K), (B, G, S, K), (B, G, S, V))
    return [torch.randn(shape, dtype=dtype, requires_grad=True) for shape in shapes]


def spans(T: int, S: int, past: int, future: int, extra_past: int) -> Tensor:
    i = torch.arange(S - T, S)
    bounds = (i - past, i + future + 1, i - extra_past, i + 1)
    table = torch.stack([x.clamp(0, S) for x in bounds], -1).int()
    table[T // 2] = 0  # a query that sees nothing
    return table[None]


def dense(q: Tensor, k: Tensor, v: Tensor, seen: Tensor, terms: Tensor | float) -> tuple[Tensor, Tensor]:
    repeat = q.shape[1] // k.shape[1]
    s = torch.einsum("bhtk,bhsk->bhts", q, k.repeat_interleave(repeat, 1)) * 0.3 + terms
    nothing = ~seen.any(-1, keepdim=True)
    s = s.masked_fill(~seen & ~nothing, -torch.inf)
    p = s.softmax(-1).masked_fill(nothing, 0.0)
    return p @ v.repeat_interleave(repeat, 1), s.logsumexp(-1).masked_fill(nothing[..., 0], 0.0)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize(
    "sizes",
    [(1, 1, 1, 1, 1, 1, 1), (2, 4, 2, 131, 131, 20, 12), (1, 2, 2, 7, 300, 33, 5), (1, 3, 1, 601, 601, 8, 8)],
)
@pytest.mark.parametrize("E", [0, 3, 70])
@pytest.mark.parametrize("with_places", [False, True])
def test_equals_the_formula(threads: int, sizes: tuple[int, ...], E: int, with_places: bool) -> None:
    """One and several tasks for a head; widths that are no whole vectors; more extra keys than a block has."""
    B, H, G, T, S, K, V = sizes
    tensors = make(B, H, G, T, S, K, V)
    table = spans(T, S, 40, 9, 100)
    low, high, extra_low, extra_high = table[0].long().unbind(-1)
    j, chosen = torch.arange(S), torch.randperm(S)[: min(E, S - 1)].sort().values
    extra = torch.full((B, E), -1)
    extra[:, : len(chosen)] = chosen
    seen = (j >= low[:, None]) & (j < high[:, None])
    listed = torch.zeros(S, dtype=torch.bool).index_fill(0, chosen, True)
    seen = seen | (listed & (j >= extra_low[:, None]) & (j < extra_high[:, None]))
    places: tuple[Tensor, ...] = ()
    terms: Tensor | float = 0.0
    if with_places:
        lead = torch.randn(B, H, T + S, dtype=torch.float64).cumsum(-1) + 1e4
        places = tuple(x.clone().requires_grad_() for x in lead.split([T, S], -1))
        terms = -(places[0][..., :, None] - places[1][..., None, :]).abs()
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        mine = attend(*tensors, table, extra if E else None, places=places or None, scale=0.3)
        theirs = dense(*tensors, seen, terms)
        y, lse = mine[0], mine[1].masked_fill(mine[1] == -torch.inf, 0.0)
        weights = [torch.randn(x.shape, dtype=x.dtype) for x in theirs]
        inputs = [*tensors, *places]
        grads = [
            torch.autograd.grad(sum((a * w).sum() for a, w in zip(pair, weights)), inputs, allow_unused=True)
            for pair in ((y, lse), theirs)
        ]
    finally:
        torch.set_num_threads(before)
    for a, b in zip((y, lse, *grads[0]), (*theirs, *grads[1]), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("poison", [torch.nan, torch.inf, 1e30])
def test_what_is_out_of_reach_changes_no_bit(poison: float) -> None:
    """Whatever lies at a key, value, query or gradient that a token does not meet, also in the same block."""
    tensors = make(1, 2, 2, 200, 200, 16, 16, torch.float32)
    mask = torch.arange(200)[None] == 3

    def run(q: Tensor, k: Tensor, v: Tensor, change: float | None) -> list[Tensor]:
        q, k, v = (x.detach().clone() for x in (q, k, v))
        grad = torch.ones(1, 2, 200, 16)
        if change is not None:
            for x in (q, k, v, grad):
                x[:, :, 100] = change
        inputs = [x.requires_grad_() for x in (q, k, v)]
        y = sparse_attention(*inputs, Window(10, 5) | Global(queries=False), global_mask=mask)
        return [y.detach(), *torch.autograd.grad(y, inputs, grad)]

    clean, changed = run(*tensors, None), run(*tensors, poison)
    meets = torch.arange(200)
    can = ((meets - 100 <= 10) & (meets - 100 >= -5), (meets - 100 <= 15) & (meets - 100 >= -15))
    for number, (a, b) in enumerate(zip(clean, changed)):
        far = ~can[min(number, 1)]
        far[3] = number < 2 and far[3]  # the global key meets every query
        assert torch.equal(a[:, :, far], b[:, :, far]), number
        assert not torch.equal(a[:, :, 100], b[:, :, 100])
    if poison != poison:
        assert changed[0][:, :, 100].isnan().all()


def test_evaluation_repeats_bitwise() -> None:
    tensors = make(1, 3, 1, 700, 700, 16, 16, torch.float32)
    table = spans(700, 700, 64, 0, 0)
    runs = []
    for _ in range(3):
        y, lse = attend(*tensors, table, scale=0.25)
        runs.append([y, lse, *torch.autograd.grad(y.sum(), tensors)])
    for again in runs[1:]:
        assert all(torch.equal(a, b) for a, b in zip(runs[0], again))


def test_compiles_as_one_graph() -> None:
    tensors = make(2, 2, 2, 90, 90, 8, 8)

    def loss(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        numbers = torch.arange(90).expand(2, 90)
        spec = Window(7, 2) | Global(limit=2)
        y = sparse_attention(q, k, v, spec, q_index=numbers, k_index=numbers, global_mask=numbers == 5)
        return (y * attention(q, k, v, causal=True, return_lse=True)[0]).sum()

    whole = torch.compile(loss, fullgraph=True, backend="aot_eager")
    for a, b in zip(*(torch.autograd.grad(f(*tensors), tensors) for f in (whole, loss))):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


def test_layouts_that_are_not_contiguous() -> None:
    q, k, v = make(2, 4, 2, 60, 60, 8, 8)
    other = [x.detach().transpose(1, 2).contiguous().transpose(1, 2).requires_grad_() for x in (q, k)]
    other.append(v.detach().transpose(2, 3).contiguous().transpose(2, 3).requires_grad_())
    for a, b in zip(
        torch.autograd.grad(attend(q, k, v, spans(60, 60, 9, 9, 0), scale=1.0)[0].sum(), (q, k, v)),
        torch.autograd.grad(attend(*other, spans(60, 60, 9, 9, 0), scale=1.0)[0].sum(), other),
    ):
        assert torch.equal(a, b)


@pytest.mark.parametrize(
    "name, options",
    [
        ("attention", {"positions": "alibi"}),
        ("attention", {"positions": "alibi", "window": 20, "causal": False}),
        ("attention", {"window": 20}),
        ("longformer", {"window": 16, "num_global": 2, "causal": False, "positions": "alibi"}),
        ("fox", {}),
    ],
)
def test_mixers_agree_with_and_without(name: str, options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    mixer = create_mixer(name, dim=32, **options).double()
    for p in mixer.parameters():
        torch.nn.init.normal_(p, std=0.3)
    x = torch.randn(2, 150, 32, dtype=torch.float64, requires_grad=True)
    mask = torch.arange(150) < torch.tensor([[150], [97]])
    results = []
    for native in (True, False):
        with use_native(native):
            y = mixer(x, mask=mask)
            grads = torch.autograd.grad(y.square().sum(), [x, *mixer.parameters()], allow_unused=True)
            results.append([y, *(g for g in grads if g is not None)])
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


def test_takes_what_it_can() -> None:
    x = torch.zeros(1)
    assert can_attend(x, x.bfloat16()) and can_attend(x.double())
    assert not can_attend(x.to("meta")) and not can_attend(x.int())
    with use_native(False):
        assert not can_attend(x)
