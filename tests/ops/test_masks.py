from __future__ import annotations

import pytest
import torch

from anyformer.ops.masks import Blocks, Causal, Columns, Dilated, Every, Global, MaskSpec, Segments, Window

T = 12
INDEX = torch.arange(T)[None]
MARKS = torch.zeros(1, T, dtype=torch.bool)
MARKS[0, [0, 7]] = True
GLOBAL = {0, 7}

RULES = {
    "causal": (Causal(), lambda i, j: j <= i, (None, 0)),
    "window": (Window(3, 1), lambda i, j: i - 3 <= j <= i + 1, (3, 1)),
    "dilated": (Dilated(6, 2, 2), lambda i, j: i - 6 <= j <= i + 2 and (i - j) % 2 == 0, (6, 2)),
    "from the first": (Dilated(None, 1, 3), lambda i, j: j <= i + 1 and (i - j) % 3 == 0, (None, 1)),
    "blocks": (Blocks(5, 2), lambda i, j: (i + 2) // 5 == (j + 2) // 5, (4, 4)),
    "columns": (Columns(4, 1, 2), lambda i, j: j % 4 in (1, 2), (None, None)),
    "every": (Every(3, 2), lambda i, j: i % 3 == j % 3 == 2, (None, None)),
    "segments": (Segments(4, 2), lambda i, j: j >= i // 4 * 4 - 2, (5, None)),
    "global": (Global(), lambda i, j: i in GLOBAL or j in GLOBAL, (None, None)),
    "global keys": (Global(queries=False), lambda i, j: j in GLOBAL, (None, None)),
    "union": (
        Window(1, 0) | Global(),
        lambda i, j: i - 1 <= j <= i or i in GLOBAL or j in GLOBAL,
        (None, None),
    ),
    "intersection": (Segments(4, 2) & Causal(), lambda i, j: i // 4 * 4 - 2 <= j <= i, (5, 0)),
    "nested": (
        (Window(2, 2) | Global()) & Causal() & (Window(8, 0) | Dilated(20, 0, 3)),
        lambda i, j: (
            (abs(i - j) <= 2 or i in GLOBAL or j in GLOBAL) and j <= i and (i - j <= 8 or (i - j) % 3 == 0)
        ),
        (20, 0),
    ),
}


@pytest.mark.parametrize("name", RULES)
def test_dense_is_the_rule(name: str) -> None:
    spec, rule, reach = RULES[name]
    expected = torch.tensor([[rule(i, j) for j in range(T)] for i in range(T)])
    assert torch.equal(spec.dense(INDEX, INDEX, MARKS)[0], expected)
    assert spec.reach == reach


@pytest.mark.parametrize("name", RULES)
def test_products_are_the_spec_and_keep_their_bounds(name: str) -> None:
    spec = RULES[name][0]
    i, j = INDEX[:, :, None], INDEX[:, None, :]
    flags = MARKS[:, :, None], MARKS[:, None, :]
    union = torch.zeros(1, T, T, dtype=torch.bool)
    for product in spec.products():
        pairs = product.sees(i, j, *flags).expand(1, T, T)
        distance = (i - j).expand(1, T, T)[pairs]
        assert product.past is None or (distance <= product.past).all()
        assert product.future is None or (distance >= -product.future).all()
        assert (distance % product.step == 0).all()
        assert product.residue is None or (j.expand(1, T, T)[pairs] % product.step == product.residue).all()
        assert product.columns is None or product.columns.chosen(j.expand(1, T, T)[pairs]).all()
        union = union | pairs
    assert torch.equal(union, spec.dense(INDEX, INDEX, MARKS))


def test_absent_tokens_see_nothing_and_are_not_seen() -> None:
    index = torch.tensor([[-1, 0, 1, -1, 2]])
    marks = torch.tensor([[True, True, False, True, False]])
    for spec in (Causal(), Window(9, 9), Global(), Segments(1, 9)):
        mask = spec.dense(index, index, marks)
        assert not mask[0, [0, 3]].any() and not mask[0, :, [0, 3]].any() and mask[0, 1, 1]


def test_queries_are_global_by_number() -> None:
    keys = torch.tensor([[5, 6, 7, 8]])
    marks = torch.tensor([[False, False, True, False]])
    mask = Global().dense(torch.tensor([[7, 8]]), keys, marks)
    assert mask.tolist() == [[[True] * 4, [False, False, True, False]]]


@pytest.mark.parametrize(
    "build, message",
    [
        (lambda: Window(-1, 0), "Window: past must be an integer of at least 0, got -1"),
        (lambda: Window(1, 0.5), "Window: future must be an integer of at least 0, got 0.5"),
        (lambda: Dilated(1, 1, 0), "Dilated: step must be an integer of at least 1, got 0"),
        (lambda: Segments(0, 1), "Segments: length must be an integer of at least 1, got 0"),
        (lambda: Blocks(4, -1), "Blocks: shift must be an integer of at least 0, got -1"),
        (lambda: Columns(4, 3, 2), r"Columns: first \+ count must be at most length=4, got 3 \+ 2"),
        (lambda: Every(3, 3), "Every: first must be below step=3, got 3"),
        (lambda: Global(keys=False, queries=False), "Global: keys or queries must be True"),
        (lambda: Global(limit=0), "Global: limit must be an integer of at least 1, got 0"),
    ],
)
def test_errors(build: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()  # type: ignore[operator]


def test_specs_are_values() -> None:
    spec: MaskSpec = Window(3, 0) | Global()
    assert spec == Window(3, 0) | Global() and hash(spec) == hash(Window(3, 0) | Global())
    assert "Window(past=3, future=0)" in repr(spec)


@pytest.mark.parametrize("name", RULES)
def test_a_span_is_what_a_product_sees(name: str) -> None:
    """Wherever a product says that each query sees a span of the keys, it is that, with the query in it."""
    for product in RULES[name][0].products():
        span = product.span(INDEX)
        assert (span is None) == any(isinstance(spec, (Dilated, Columns, Every)) for spec in product.specs)
        if span is None:
            continue
        low, high = (torch.full_like(INDEX, end) if x is None else x for x, end in zip(span, (-99, 99)))
        i, j = INDEX[:, :, None], INDEX[:, None, :]
        everything = torch.ones(1, T, T, dtype=torch.bool)
        seen = product.sees(i, j, everything, everything)
        assert torch.equal(seen, (j >= low[..., None]) & (j <= high[..., None]))
        assert seen.diagonal(dim1=1, dim2=2).all()
