"""Edges as a side input."""

from __future__ import annotations

import pytest
import torch

from anyformer.layers.edges import KINDS, check_kinds, example_edges, lookup


def test_a_table_gives_each_head_a_number_for_each_pair() -> None:
    table = torch.randn(3, 5, dtype=torch.float64, requires_grad=True)
    rows = torch.randint(5, (2, 4, 4))
    found = lookup(table, rows)
    assert found.shape == (2, 3, 4, 4)
    for h in range(3):
        assert torch.equal(found[:, h], table[h][rows])
    assert torch.autograd.gradcheck(lambda t: lookup(t, rows), (table,))


def test_examples_hold_edges_paths_and_neither() -> None:
    edges = example_edges(2, 40, torch.Generator().manual_seed(0))
    assert edges.shape == (2, 40, 40) and edges.dtype == torch.int64
    assert set(edges.unique().tolist()) == set(range(-KINDS, KINDS + 1))


def test_kinds_are_counted_from_one() -> None:
    check_kinds(1)
    with pytest.raises(ValueError, match="num_kinds must be at least 1, got 0"):
        check_kinds(0)
