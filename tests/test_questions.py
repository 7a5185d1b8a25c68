"""Cross-entropy by sample."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from anyformer.questions import IGNORED, compacted, log_losses, pinball, quantiles_of


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_sums_and_counts_of_each_sample_leave_out_ignored_classes(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    outputs, classes = torch.randn(3, 4, 5, dtype=dtype), torch.randint(5, (3, 4))
    classes[0, 1:], classes[1] = IGNORED, IGNORED
    sums, counts = log_losses(outputs, classes)
    assert counts.tolist() == [1, 0, 4] and sums.dtype == counts.dtype == torch.float64
    for i in range(3):
        each = functional.cross_entropy(outputs[i].float(), classes[i], reduction="sum")
        assert float(sums[i]) == pytest.approx(float(each), rel=1e-5, abs=1e-6)


def test_one_class_for_each_sequence() -> None:
    sums, counts = log_losses(torch.zeros(2, 8), torch.tensor([3, IGNORED]))
    assert sums.tolist() == pytest.approx([torch.tensor(8.0).log().item(), 0])
    assert counts.tolist() == [1, 0]


def test_quantiles_do_not_cross() -> None:
    found = quantiles_of(torch.tensor([[3.0, 1.0, 2.0, 5.0]]), (1, 2), (0.1, 0.9))
    assert found.tolist() == [[[1, 3], [2, 5]]]


def test_the_pinball_loss_weighs_both_sides() -> None:
    found = pinball(torch.tensor([[1.0, 1.0], [4.0, 4.0]]), torch.tensor([[2.0], [2.0]]), (0.1, 0.9))
    torch.testing.assert_close(found, torch.tensor([[0.1, 0.9], [1.8, 0.2]]))


def test_elements_that_are_asked_about_move_to_the_left_in_order() -> None:
    asked = torch.tensor([[False, True, False, True], [True, True, True, False], [False] * 4])
    index, real = compacted(asked)
    assert real.tolist() == [[True, True, False], [True, True, True], [False] * 3]
    assert [row[own].tolist() for row, own in zip(index, real)] == [[1, 3], [0, 1, 2], []]
    assert compacted(torch.zeros(2, 3, dtype=torch.bool))[0].shape == (2, 1)
