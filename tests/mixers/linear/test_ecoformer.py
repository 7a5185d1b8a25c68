from __future__ import annotations

import pytest
import torch
from torch.nn.functional import normalize

from anyformer.contract import Call, after_step
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


def test_errors() -> None:
    with pytest.raises(ValueError, match="num_bits and num_anchors must be at least 1, got 0 and 20"):
        create_mixer("ecoformer", 8, num_bits=0)
    with pytest.raises(ValueError, match="num_pairs must be at least 1 and num_fits at least 0, got 0 and 4"):
        create_mixer("ecoformer", 8, num_pairs=0)
