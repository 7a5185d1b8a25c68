"""Batches: their units, parts of them, and classes that are no answers."""

from __future__ import annotations

import torch

from anyformer.tasks.batch import Batch


def test_a_batch_in_the_users_units() -> None:
    ones = torch.ones(2, 3, dtype=torch.float64)
    batch = Batch(torch.zeros(2, 4, 1), torch.zeros(2, 3), shift=5 * ones, scale=2 * ones)
    assert (
        len(batch) == 2 and batch.in_units(torch.ones(2, 3, dtype=torch.bfloat16)).tolist() == [[7.0] * 3] * 2
    )
    moved = batch.to("meta")
    assert moved.x.is_meta and moved.scale is not None and moved.scale.is_meta and moved.mask is None


def test_a_part_of_a_batch_of_samples_and_of_elements() -> None:
    x, side = torch.arange(12.0).reshape(3, 4, 1), {"edges": torch.ones(3, 2)}
    part = Batch(x, torch.arange(3), side=side)[1:]
    assert part.x.tolist() == x[1:].tolist() and part.side["edges"].shape == (2, 2)
    elements = torch.tensor([[0, 1], [2, 3]])
    asked = Batch(x, torch.arange(2), side=side, elements=elements)[1:]
    assert len(asked) == 1 and len(asked.x) == 3 and asked.elements is not None
    assert asked.elements.tolist() == [[2, 3]]


def test_excluded_classes_have_no_score() -> None:
    batch = Batch(torch.zeros(1, 2), torch.zeros(1, 2), excluded=torch.tensor([[[0, -1], [2, 1]]]))
    allowed = batch.allowed(torch.zeros(1, 2, 3))
    assert (allowed == -torch.inf).tolist() == [[[True, False, False], [False, True, True]]]
