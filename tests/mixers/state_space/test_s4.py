from __future__ import annotations

import pytest
import torch
from torch.nn.functional import gelu, glu

from anyformer.mixers import create_mixer


@pytest.mark.parametrize("mode", ["dplr", "diagonal"])
def test_convolution_is_the_recurrence(mode: str) -> None:
    mixer = create_mixer("s4", 3, state_dim=16, mode=mode).double()
    x = torch.randn(2, 100, 3, dtype=torch.float64)
    space, state, outputs = mixer._space(), torch.zeros(2, 3, 16, dtype=torch.float64), []
    for u in x.unbind(1):
        state = space.step(state, u)
        outputs.append((state * space.read).sum(-1) + mixer.skip * u)
    torch.testing.assert_close(mixer(x), glu(mixer.out(gelu(torch.stack(outputs, 1)))), rtol=1e-9, atol=1e-9)


def test_bidirectional_reads_both_sides_once() -> None:
    """Only the token itself, through the skip and lag zero, then the two kernels on either side."""
    mixer = create_mixer("s4", 2, state_dim=4, causal=False).double()
    x = torch.randn(1, 20, 2, dtype=torch.float64)
    ahead, behind = mixer._space(1).kernel(20), mixer._space().kernel(20)
    t, s = torch.arange(20)[:, None], torch.arange(20)
    matrix = torch.where(s <= t, behind[:, (t - s).clamp_min(0)], ahead[:, (s - t - 1).clamp_min(0)])
    y = torch.einsum("dts,bsd->btd", matrix, x) + mixer.skip * x
    torch.testing.assert_close(mixer(x), glu(mixer.out(gelu(y))), rtol=1e-9, atol=1e-9)


def test_a_random_start_is_stable() -> None:
    """However strong the rank-one term, nothing grows: A is a normal matrix minus P P^*."""
    space = create_mixer("s4", 8, state_dim=16, init="random").double()._space()
    assert float(torch.linalg.eigvals(space._matrix()).abs().max().detach()) < 1


def test_no_complex_parameters() -> None:
    assert all(p.dtype == torch.float32 for p in create_mixer("s4", 4).parameters())


def test_errors() -> None:
    with pytest.raises(ValueError, match="unknown mode 'diag'; did you mean 'diagonal'"):
        create_mixer("s4", 4, mode="diag")
    with pytest.raises(ValueError, match="init must be one of legs, random with mode='dplr', got 'inv'"):
        create_mixer("s4", 4, init="inv")
    with pytest.raises(ValueError, match="state_dim must be even"):
        create_mixer("s4", 4, state_dim=3)
    with pytest.raises(ValueError, match="dt_min must be positive"):
        create_mixer("s4", 4, dt_min=0.2)
