from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

import anyformer.ops.attention.tiles as module
import anyformer.ops.sparse_attention.tiles as sparse_tiles
from anyformer.ops import use_native
from anyformer.ops._base import PRIMITIVES
from anyformer.ops.attention import attention
from anyformer.ops.masks import Blocks, Causal, Columns, Dilated, Every, Global, MaskSpec, Segments, Window
from anyformer.ops.sparse_attention import sparse_attention, sparse_attention_definition

SPECS = {
    "causal": Causal(),
    "window": Window(5, 3),
    "self only": Window(0, 0),
    "causal window": Window(20, 0),
    "window wider than the sequence": Window(500, 500),
    "dilated": Dilated(12, 9, 3),
    "dilated, steps wider than the sequence": Dilated(300, 0, 200),
    "global": Global(),
    "longformer": Window(4, 4) | Global(),
    "longformer, limited": Window(4, 4) | Global(limit=6),
    "causal longformer": (Window(4, 4) | Global()) & Causal(),
    "global keys": Window(2, 0) | Global(queries=False),
    "global queries": Global(keys=False, limit=8),
    "strided": Window(4, 0) | Dilated(40, 0, 4),
    "overlapping": Window(6, 0) | Window(0, 6) | Dilated(10, 10, 2) | Global() | Causal() & Segments(7, 1),
    "segments": Segments(8, 3) & Causal(),
    "strided from the first token": Window(3, 0) | Dilated(None, 0, 4),
    "both ways at steps": Dilated(None, 9, 5) | Dilated(7, None, 3) | Every(3, 1),
    "blocks": Blocks(8),
    "shifted blocks and global": Blocks(6, 2) | Global(),
    "fixed": (Blocks(8) | Columns(8, 6, 2)) & Causal(),
    "columns": Columns(7, 0, 3),
    "dilated segments": Every(4, 3) & Blocks(24, 4) & Causal(),
    "two combs": Every(2, 1) & Every(3, 1) & Causal(),
    "two steps": Dilated(60, 60, 2) & Dilated(60, 60, 3),
}


def make(T: int, S: int, H: int = 4, G: int = 2, B: int = 3) -> list[Tensor]:
    torch.manual_seed(T * 31 + S)
    shapes = ((B, H, T, 4), (B, G, S, 4), (B, G, S, 3))
    return [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]


def compare(tensors: list[Tensor], spec: MaskSpec, **options: Any) -> None:
    """Outputs, log-sum-exps and every gradient of both forms agree, and nothing is NaN."""
    results = []
    for form in (sparse_attention, sparse_attention_definition):
        y, lse = form(*tensors[:3], spec, return_lse=True, **options)
        torch.manual_seed(1)
        loss = (y * torch.randn(y.shape, dtype=y.dtype)).sum() + lse.masked_fill(
            lse == -torch.inf, 0.0
        ).sin().sum()
        grads = torch.autograd.grad(loss, tensors, allow_unused=True, materialize_grads=True)
        results.append((y, lse, *grads))
    for a, b in zip(*results):
        assert not a.isnan().any()
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


@pytest.fixture(params=[None, 2**21, 500], ids=["native", "one tile", "many tiles"])
def tiles(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    if request.param is not None:
        monkeypatch.setattr(module, "TILE_ELEMENTS", request.param)
    with use_native(request.param is None):
        yield


def marks(S: int, B: int = 3) -> Tensor:
    mask = torch.rand(B, S, generator=torch.Generator().manual_seed(S)) < 3 / max(S, 1)
    mask &= mask.cumsum(1) <= 6
    mask[0] = False  # a sample without global tokens
    return mask


@pytest.mark.parametrize("T, S", [(1, 1), (63, 63), (131, 131), (1, 37), (11, 50)])
@pytest.mark.parametrize("name", SPECS)
def test_fast_equals_definition(tiles: None, name: str, T: int, S: int) -> None:
    compare(make(T, S), SPECS[name], global_mask=marks(S))


@pytest.mark.parametrize("name", SPECS)
def test_ragged_numbers(tiles: None, name: str) -> None:
    """Left-aligned, right-aligned, shuffled and missing tokens; queries that are a span of the keys."""
    T, S = 21, 47
    q_index, k_index = torch.full((4, T), -1), torch.full((4, S), -1)
    k_index[0, :40], q_index[0, :13] = torch.arange(40), torch.arange(27, 40)  # padded on the right
    k_index[1, 5:], q_index[1, 2:] = torch.arange(100, 142), torch.arange(120, 139)  # and on the left
    generator = torch.Generator().manual_seed(0)
    places = torch.randperm(S, generator=generator)[:30]
    k_index[2, places] = torch.arange(30)  # with holes, in no order
    q_index[2, torch.randperm(T, generator=generator)[:9]] = torch.arange(7, 16)
    compare(
        make(T, S, B=4), SPECS[name], q_index=q_index, k_index=k_index, global_mask=marks(S, 4), scale=0.7
    )  # and sample 3 has no token at all


@pytest.mark.parametrize("H, G", [(2, 2), (4, 1), (6, 3)])
def test_grouped_heads(H: int, G: int) -> None:
    compare(make(40, 40, H, G), Window(6, 2) | Global(), global_mask=marks(40))


@pytest.mark.parametrize("name", ["causal", "longformer", "causal longformer", "overlapping", "strided"])
def test_scores_by_callback(tiles: None, name: str) -> None:
    """Terms from positions that are not the numbers, with learnt parameters outside the op's arguments."""
    tensors = make(45, 45)
    slope = torch.tensor([0.1, 0.3, -0.2, 0.0], dtype=torch.float64, requires_grad=True)
    pos = (torch.randn(3, 45, dtype=torch.float64) * 3).requires_grad_()

    def score(s: Tensor, q: Tensor, k: Tensor, q_pos: Tensor, k_pos: Tensor) -> Tensor:
        N, H, C, S = s.shape
        assert q.shape == (N, H, C, 4) and k.shape == (N, 2, S, 4) and q_pos.shape == (N, C)
        distance = (q_pos[:, :, None] - k_pos[:, None, :]).abs()
        return s - slope[:, None, None] * distance[:, None]

    compare([*tensors, slope, pos], SPECS[name], global_mask=marks(45), score=score, q_pos=pos, k_pos=pos)
    y = sparse_attention(*tensors, Causal(), score=score)
    index = torch.arange(45.0, dtype=torch.float64)
    bias = -slope[:, None, None] * (index[:, None] - index).abs()
    torch.testing.assert_close(y, attention(*tensors, causal=True, bias=bias))


@pytest.mark.parametrize("name", ["causal", "longformer", "causal longformer", "overlapping", "strided"])
def test_places(tiles: None, name: str) -> None:
    """Scores that fall by the distance of places, which get gradients too."""
    tensors = make(45, 45)
    q_place = torch.randn(3, 4, 45, dtype=torch.float64, requires_grad=True)
    k_place = torch.randn(3, 4, 45, dtype=torch.float64, requires_grad=True)
    options = {"places": (q_place, k_place), "global_mask": marks(45)}
    compare([*tensors, q_place, k_place], SPECS[name], **options)
    with pytest.raises(ValueError, match="places and score must not be given together"):
        sparse_attention(*tensors, Causal(), score=lambda s, *_: s, **options)


@pytest.mark.parametrize("T, S", [(0, 4), (0, 0), (3, 0)])
def test_empty(T: int, S: int) -> None:
    numbers = {"q_index": torch.arange(T).expand(3, T), "k_index": torch.arange(S).expand(3, S)}
    for form in (sparse_attention, sparse_attention_definition):
        y, lse = form(
            *make(T, S), Window(2, 2) | Global(), return_lse=True, global_mask=marks(S)[:, :S], **numbers
        )
        assert (
            y.shape == (3, 4, T, 3)
            and lse.shape == (3, 4, T)
            and (y == 0).all()
            and (lse == -torch.inf).all()
        )


def test_gradcheck(tiles: None) -> None:
    tensors = [x[:1, :2].detach().requires_grad_() for x in make(18, 18, G=2)]
    spec = (Window(3, 1) | Dilated(9, 0, 3) | Global()) & Causal()
    global_mask = torch.arange(18)[None] == 4
    assert torch.autograd.gradcheck(
        lambda *x: sparse_attention(*x, spec, global_mask=global_mask, return_lse=True), tensors
    )


@pytest.mark.parametrize("dtype, tolerance", [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)])
def test_low_precision(dtype: torch.dtype, tolerance: float) -> None:
    tensors = [x.to(dtype) for x in make(70, 70)]
    spec = Window(9, 9) | Global()
    y, lse = sparse_attention(*tensors, spec, global_mask=marks(70), return_lse=True)
    exact = sparse_attention_definition(*(x.double() for x in tensors), spec, global_mask=marks(70))
    assert y.dtype == dtype and lse.dtype == torch.float32
    torch.testing.assert_close(y.double(), exact, rtol=tolerance, atol=tolerance)


# ---- cost -------------------------------------------------------------------------------------------------------

LINEAR = [
    "window",
    "causal window",
    "dilated",
    "longformer, limited",
    "segments",
    "strided",
    "blocks",
    "dilated segments",
    "two steps",
]


def count(spec: MaskSpec, T: int, monkeypatch: pytest.MonkeyPatch) -> tuple[int, int, int]:
    """(score elements computed, elements kept for the backward, operations by the formula)."""
    computed = 0
    kept: dict[int, int] = {}
    tile = sparse_tiles.attend_tile

    def counting(q: Tensor, k: Tensor, *rest: Any, **options: Any) -> Any:
        nonlocal computed
        computed += q.shape[0] * q.shape[1] * q.shape[2] * k.shape[2]
        return tile(q, k, *rest, **options)

    def pack(x: Tensor) -> Tensor:
        kept[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes() // x.element_size()
        return x

    tensors = make(T, T, 2, 2, 1)
    global_mask = torch.arange(T)[None] < 2
    with (
        use_native(False),
        monkeypatch.context() as patch,
        torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x),
    ):
        patch.setattr(sparse_tiles, "attend_tile", counting)
        y = sparse_attention(*tensors, spec, global_mask=global_mask)
    flops = PRIMITIVES["sparse_attention"].flops(*tensors, spec, global_mask=global_mask)
    assert flops == 2 * computed * (4 + 3)
    y.sum().backward()
    return computed, sum(kept.values()), flops


@pytest.mark.parametrize("name", LINEAR)
def test_linear_patterns_cost_linear_time_and_memory(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    costs = [count(SPECS[name], T, monkeypatch) for T in (1024, 2048, 4096)]
    for what in range(2):
        first, second = costs[1][what] - costs[0][what], costs[2][what] - costs[1][what]
        assert 1.75 < second / first < 2.25, (name, costs)  # up to whole blocks
    assert costs[0][0] < 2 * 1024 * 1024 / 4


def test_steps_and_columns_cost_as_many_times_less(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of T^2 pairs T^2 / step are looked at, and a root of T as the step makes it T^1.5."""
    for T, step in ((256, 16), (1024, 32)):
        for spec in (Dilated(None, 0, step), Columns(step, step - 1, 1) & Causal()):
            computed, _, _ = count(spec, T, monkeypatch)
            assert T * T / step <= computed / 2 < 1.3 * T * T / step, spec
        one_of = count(Every(step, 1) & Causal(), T, monkeypatch)[0]
        assert one_of / 2 < 1.3 * (T / step) ** 2


def test_tiles_bound_what_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Past one tile, scores are computed again in the backward instead of kept."""
    _, whole, _ = count(Window(128, 128), 2048, monkeypatch)
    monkeypatch.setattr(module, "TILE_ELEMENTS", 2**16)
    _, tiled, _ = count(Window(128, 128), 2048, monkeypatch)
    assert tiled < whole / 4


def test_a_dense_pattern_is_not_linear(monkeypatch: pytest.MonkeyPatch) -> None:
    costs = [count(Causal(), T, monkeypatch)[0] for T in (256, 512)]
    assert costs[1] == 4 * costs[0]
    monkeypatch.setattr(module, "TILE_ELEMENTS", 2**14)  # in blocks, the keys after a block are left out
    assert count(Causal(), 512, monkeypatch)[0] < 0.55 * costs[1]


# ---- errors -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change, message",
    [
        ({"spec": "window"}, "spec must be a MaskSpec, got str"),
        ({"q_index": torch.arange(5).expand(2, 5)}, "q_index and k_index must be given together"),
        (
            {"k": torch.ones(2, 2, 3, 4), "v": torch.ones(2, 2, 3, 4)},
            "at least as many keys as queries, got 3 and 5",
        ),
        ({"global_mask": torch.ones(2, 5)}, "global_mask must be bool of shape"),
        ({"global_mask": torch.ones(2, 5, dtype=torch.bool)}, "must mark at most 2 tokens a sample"),
        ({"q_pos": torch.ones(2, 4)}, "q_pos must have shape"),
        ({"k": torch.ones(2, 2, 5, 3)}, "k must have shape"),
    ],
)
@pytest.mark.parametrize("form", [sparse_attention, sparse_attention_definition])
def test_errors(form: Any, change: dict[str, Any], message: str) -> None:
    ones = torch.ones(2, 2, 5, 4)
    arguments = {"q": ones, "k": ones, "v": ones, "spec": Window(1, 1) | Global(limit=2), **change}
    with pytest.raises(ValueError, match=message):
        form(**arguments)


@pytest.mark.parametrize(
    "numbers, message",
    [
        ([0, 1, 3, 4, 5], "q_index must number the tokens of each sample consecutively"),
        ([0, 1, 1, 2, 3], "q_index must number the tokens of each sample consecutively"),
        ([0.0, 1.0, 2.0, 3.0, 4.0], r"q_index must be integers of shape \(1, 5\)"),
        ([0, 1], r"q_index must be integers of shape \(1, 5\)"),
    ],
)
def test_wrong_numbers(numbers: list[float], message: str) -> None:
    ones = torch.ones(1, 1, 5, 4)
    with pytest.raises(ValueError, match=message):
        sparse_attention(
            ones, ones, ones, Causal(), q_index=torch.tensor([numbers]), k_index=torch.arange(5)[None]
        )


def test_every_pair_is_computed_once() -> None:
    """Overlapping products do not count a pair twice: with equal scores, y is the mean over the visible keys."""
    T = 33
    q, k = torch.zeros(1, 1, T, 2), torch.zeros(1, 1, T, 2)
    v = torch.randn(1, 1, T, 4)
    for spec, part in itertools.product(SPECS.values(), (True, False)):
        global_mask = torch.arange(T)[None] % 16 == 3 if part else None
        visible = spec.dense(torch.arange(T)[None], torch.arange(T)[None], global_mask)[:, None].float()
        expected = visible @ v / visible.sum(-1, keepdim=True).clamp_min(1)
        torch.testing.assert_close(sparse_attention(q, k, v, spec, global_mask=global_mask), expected)


def test_more_rows_than_the_backward_packs_at_once() -> None:
    """Keys at a border belong to two packings, which both add to their gradients."""
    found = []
    for native in (True, False):
        tensors = [t.requires_grad_() for t in make(1100, 1100, 2, 1, 1)]
        with use_native(native):
            y = sparse_attention(*tensors, Window(40, 3))
            y.sin().sum().backward()
        found.append([y, *(t.grad for t in tensors)])
    torch.testing.assert_close(found[0], found[1])
