from __future__ import annotations

import math

import pytest
import torch
from torch.nn.functional import binary_cross_entropy

from anyformer.objectives import Labels


def test_loss_is_the_binary_cross_entropy_of_what_is_known() -> None:
    outputs, targets = torch.randn(4, 3), (torch.rand(4, 3) < 0.5).float()
    expected = binary_cross_entropy(outputs.sigmoid(), targets)
    torch.testing.assert_close(Labels(3).loss(outputs, targets), expected)
    targets[:, 1] = math.nan
    expected = binary_cross_entropy(outputs[:, ::2].sigmoid(), targets[:, ::2])
    torch.testing.assert_close(Labels(3).loss(outputs, targets), expected)


def test_arguments_are_checked() -> None:
    with pytest.raises(ValueError, match="num_labels must be a positive integer, got 0"):
        Labels(0)
    with pytest.raises(ValueError, match=r"outputs must have shape \(2, 3\)"):
        Labels(3).loss(torch.zeros(2, 4), torch.zeros(2, 3))
