from __future__ import annotations

import pytest
import torch

from anyformer.ops.vector_quantize import vector_quantize


@pytest.mark.parametrize("N", [1, 7])
def test_fast_form_is_the_definition(agrees, N):
    torch.manual_seed(0)
    agrees(
        lambda x, codebook: vector_quantize(x, codebook.detach())[1],
        x=torch.randn(2, 3, 9, 5, dtype=torch.float64),
        codebook=torch.randn(N, 5, dtype=torch.float64),
    )


def test_nearest_and_straight_through():
    codebook = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 3.0]])
    x = torch.tensor([[0.4, 0.1], [0.6, 0.1], [0.0, 2.0]], requires_grad=True)
    codes, vectors = vector_quantize(x, codebook)
    assert codes.tolist() == [0, 1, 2]
    torch.testing.assert_close(vectors, codebook)
    vectors.square().sum().backward()
    torch.testing.assert_close(x.grad, 2 * codebook)


def test_errors():
    with pytest.raises(ValueError, match=r"codebook must have shape \(N, K\)"):
        vector_quantize(torch.ones(3), torch.ones(3))
    with pytest.raises(ValueError, match=r"x must have shape \(..., 3\), got \(2, 4\)"):
        vector_quantize(torch.ones(2, 4), torch.ones(5, 3))
