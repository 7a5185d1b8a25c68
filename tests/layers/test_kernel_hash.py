"""Codes by kernels: their gradient, and what a fit makes of clusters."""

from __future__ import annotations

import torch
from torch.nn.functional import normalize

from anyformer.layers.kernel_hash import KernelHash


def test_gradients_pass_the_sign_where_the_sum_is_small() -> None:
    hashes = KernelHash(1, 2, 3, 4).double()
    x = normalize(torch.randn(1, 1, 50, 2, dtype=torch.float64), dim=-1).requires_grad_()
    soft = hashes.kernel(x) @ hashes.weight.mT
    codes = hashes(x)
    assert torch.equal(codes.detach(), torch.where(soft > 0, 1.0, -1.0).double())
    weight = torch.randn_like(codes)
    got = torch.autograd.grad((codes * weight).sum(), x)[0]
    torch.testing.assert_close(got, torch.autograd.grad((soft * (soft.abs() <= 1) * weight).sum(), x)[0])


def test_few_tokens_can_be_fitted_to() -> None:
    hashes = KernelHash(2, 4, 6, 20)
    hashes.fit(normalize(torch.randn(2, 3, 4), dim=-1), num_pairs=10)
    hashes.fit(torch.ones(2, 1, 4), num_pairs=10)
    assert hashes.weight.isfinite().all() and hashes.mean.isfinite().all()


def test_fitted_codes_agree_within_clusters() -> None:
    """Four clusters: after the fit most bits agree within one, and far fewer between two."""
    generator = torch.Generator().manual_seed(0)
    centres = normalize(torch.randn(4, 8, generator=generator), dim=-1)
    x = normalize(centres.repeat_interleave(16, 0) + 0.05 * torch.randn(64, 8, generator=generator), dim=-1)
    hashes = KernelHash(1, 8, 12, 20)
    hashes.fit(x[None], num_pairs=16)
    codes = hashes(x[None, None])[0, 0]
    agree = (codes @ codes.T / 12 + 1) / 2
    same = torch.block_diag(*[torch.ones(16, 16)] * 4).bool()
    assert float(agree[same].mean()) > 0.95
    assert float(agree[~same].mean()) < 0.6
