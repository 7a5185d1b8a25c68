"""The head of low rank is two linear layers, and its table has the width that it is given."""

from __future__ import annotations

import pytest
import torch

from anyformer.heads import create_head
from anyformer.models import create_model


def test_is_a_product_of_two_matrices() -> None:
    head = create_head("low_rank", 6, 50, options={"rank": 3}).double()
    h = torch.randn(2, 4, 6).double()
    weight = head.up.weight @ head.down.weight
    torch.testing.assert_close(head(h), h @ weight.T + head.up.bias)
    assert torch.linalg.matrix_rank(weight) == 3


def test_its_table_does_not_grow_with_the_model() -> None:
    sizes = [
        create_model("mamba", head="low_rank(rank=4)", dim=dim, vocab_size=100).head.up.weight.shape
        for dim in (8, 16)
    ]
    assert sizes == [(100, 4), (100, 4)]


def test_wrong_ranks() -> None:
    with pytest.raises(ValueError, match="rank must be at least 1, got 0"):
        create_head("low_rank", 6, 5, options={"rank": 0})
