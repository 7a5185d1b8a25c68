"""MLPs and the experts that are made of their hidden units."""

from __future__ import annotations

import pytest
import torch

from anyformer.convert.experts import balanced_clusters, merge_experts, split_experts
from anyformer.models import create_model

SPEC = "[attention]*2 dim=16 channel=mlp(hidden_dim=24, bias=true)"


def test_all_experts_together_are_the_dense_model() -> None:
    model = create_model(SPEC, vocab_size=9).double().eval()
    tokens = torch.randint(9, (2, 12))
    split = split_experts(model, 6, 6)
    torch.testing.assert_close(split(tokens), model(tokens))
    torch.testing.assert_close(merge_experts(split)(tokens), model(tokens))
    assert not torch.allclose(split_experts(model, 6, 1)(tokens), model(tokens))


def test_clusters_are_of_equal_size_and_near() -> None:
    centres = torch.randn(3, 5, generator=torch.Generator().manual_seed(0)) * 100
    order = torch.randperm(12, generator=torch.Generator().manual_seed(1))
    points = (
        centres.repeat_interleave(4, 0) + torch.randn(12, 5, generator=torch.Generator().manual_seed(2))
    )[order]
    labels = balanced_clusters(points, 3, seed=2)
    assert labels.bincount().tolist() == [4, 4, 4]
    assert all(len(set(labels[order // 4 == c].tolist())) == 1 for c in range(3))


def test_errors() -> None:
    model = create_model(SPEC, vocab_size=9)
    with pytest.raises(ValueError, match="num_clusters must divide the 12 points, got 5"):
        balanced_clusters(torch.zeros(12, 2), 5)
    with pytest.raises(ValueError, match="model must have the channel mixer 'emoe', got 'mlp'"):
        merge_experts(model)
