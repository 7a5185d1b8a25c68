from __future__ import annotations

import pytest
import torch
from torch.nn.functional import normalize

from anyformer.contract import Call, after_step
from anyformer.layers.kernel_hash import KernelHash
from anyformer.mixers import create_mixer


def test_token_by_token() -> None:
    mixer = create_mixer("ecoformer", 6, num_heads=2, num_bits=5).double()
    x = torch.randn(8, 6, dtype=torch.float64)
    expected = []
    for h in range(2):
        head = slice(3 * h, 3 * h + 3)
        qk = normalize(mixer.qk(x)[:, head], dim=-1)
        code = torch.where(
            mixer.hash.kernel(qk[None].expand(2, -1, -1))[h] @ mixer.hash.weight[h].T > 0, 1, -1
        )
        differ = (code[:, None] != code[None]).sum(-1)
        weights = (5 - 2 * differ + 6).tril().double()
        expected.append(weights / weights.sum(1, keepdim=True) @ mixer.v(x)[:, head])
    torch.testing.assert_close(mixer(x[None])[0], mixer.out(torch.cat(expected, 1)))


def test_gradients_pass_the_sign_where_the_sum_is_small() -> None:
    hashes = KernelHash(1, 2, 3, 4).double()
    x = normalize(torch.randn(1, 1, 50, 2, dtype=torch.float64), dim=-1).requires_grad_()
    soft = hashes.kernel(x) @ hashes.weight.mT
    codes = hashes(x)
    assert torch.equal(codes.detach(), torch.where(soft > 0, 1.0, -1.0).double())
    weight = torch.randn_like(codes)
    got = torch.autograd.grad((codes * weight).sum(), x)[0]
    torch.testing.assert_close(got, torch.autograd.grad((soft * (soft.abs() <= 1) * weight).sum(), x)[0])


def test_hashes_are_fitted_between_steps_as_often_as_asked() -> None:
    mixer = create_mixer("ecoformer", 8, num_heads=2, num_fits=2).train()
    fitted = []
    for step in range(1, 11):
        call, before = Call(), mixer.hash.weight.clone()
        mixer(torch.randn(2, 30, 8), call=call)
        assert torch.equal(before, mixer.hash.weight)
        after_step([mixer], call, step / 10)
        fitted.append(not torch.equal(before, mixer.hash.weight))
    assert [i for i, f in enumerate(fitted, 1) if f] == [1, 5]


def test_few_tokens_can_be_fitted_to() -> None:
    hashes = KernelHash(2, 4, 6, 20)
    hashes.fit(normalize(torch.randn(2, 3, 4), dim=-1), num_pairs=10)
    hashes.fit(torch.ones(2, 1, 4), num_pairs=10)
    assert hashes.weight.isfinite().all() and hashes.mean.isfinite().all()


def test_errors() -> None:
    with pytest.raises(ValueError, match="num_bits and num_anchors must be at least 1, got 0 and 20"):
        create_mixer("ecoformer", 8, num_bits=0)
    with pytest.raises(ValueError, match="num_pairs must be at least 1 and num_fits at least 0, got 0 and 4"):
        create_mixer("ecoformer", 8, num_pairs=0)
