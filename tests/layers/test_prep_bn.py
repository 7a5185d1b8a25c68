from __future__ import annotations

import pytest
import torch

from anyformer.contract import Call, after_step, writers
from anyformer.convert import fold_norms
from anyformer.laws import check_mixer
from anyformer.layers.norms.prep_bn import PRepBN
from anyformer.models import create_model


def test_laws() -> None:
    def half() -> PRepBN:
        norm = PRepBN(16)
        norm.share.fill_(0.5)
        return norm

    assert check_mixer(half)


@pytest.mark.parametrize("residual", ["pre", "post", "parallel", "ladder", "path_ensemble"])
def test_every_norm_of_a_stack_takes_notes(residual: str) -> None:
    model = create_model("[attention]*2", dim=16, vocab_size=9, norm="prep_bn", residual=residual).train()
    call = Call()
    model(torch.randint(9, (2, 7)), torch.arange(7) < torch.tensor([[7], [3]]), call=call)
    after_step(writers(model), call, 0.25)
    norms = [m for m in model.modules() if isinstance(m, PRepBN)]
    assert norms and all(float(n.share) == 0.75 and (n.running_mean != 0).any() for n in norms)
    assert all(float(call.notes[n]["count"]) == 10 for n in norms)


def test_a_step_of_parts_counts_them_together() -> None:
    x = torch.randn(4, 5, 3)
    found = []
    for parts in ([x], [x[:1], x[1:]]):
        norm, call = PRepBN(3).train(), Call()
        for part in parts:
            norm(part, call=call)
        after_step([norm], call, 0.0)
        found.append(torch.cat((norm.running_mean, norm.running_var)))
    torch.testing.assert_close(*found)


def test_folding_refused() -> None:
    model = create_model("[attention]*2", dim=16, vocab_size=9, norm="prep_bn")
    with pytest.raises(
        ValueError, match="model must have norms whose share is 0, at the end of training; got 1.0"
    ):
        fold_norms(model)
    with pytest.raises(ValueError, match="model must have norm=prep_bn, got 'rms_norm'"):
        fold_norms(create_model("[attention]*2", dim=16, vocab_size=9))
    mamba = create_model("[mamba]*2", dim=16, vocab_size=9, norm="prep_bn")
    for m in mamba.modules():
        if isinstance(m, PRepBN):
            m.share.zero_()
    with pytest.raises(
        ValueError, match="model must be of Attention, SimplifiedAttention, MLP, GLU, got mamba"
    ):
        fold_norms(mamba)
