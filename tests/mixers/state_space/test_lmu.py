from __future__ import annotations

import pytest
import torch
from torch.nn.functional import conv1d, pad, relu

from anyformer.mixers import create_mixer


def test_the_recurrence_by_hand() -> None:
    mixer = create_mixer("lmu", 4, order=3, window=6).double()
    x = torch.randn(1, 12, 4, dtype=torch.float64)
    m, outputs = torch.zeros(3, dtype=torch.float64), []
    for token in x[0]:
        m = mixer.A @ m + mixer.B * relu(mixer.u(token))
        outputs.append(mixer.out(relu(mixer.m(m) + mixer.x(token))))
    torch.testing.assert_close(mixer(x)[0], torch.stack(outputs))


def test_what_is_older_than_the_window_is_forgotten() -> None:
    mixer = create_mixer("lmu", 4, order=8, window=10).double()
    impulse = torch.zeros(1, 60, 1, dtype=torch.float64)
    impulse[0, 0] = 1
    memory = mixer._remember(impulse, None)[0, :, 0].norm(dim=-1)
    assert memory[30:].max() < 0.02 * memory.max()


def test_stem() -> None:
    mixer = create_mixer("conv_stem", 4).double()
    x = torch.randn(1, 9, 4, dtype=torch.float64)
    first, second = mixer.convs
    h = conv1d(pad(x.mT, (2, 0)), first.weight, first.bias)
    torch.testing.assert_close(mixer(x).mT, conv1d(pad(relu(h), (2, 0)), second.weight, second.bias))


def test_errors() -> None:
    with pytest.raises(ValueError, match="window must be positive, got 0"):
        create_mixer("lmu", 4, window=0)
    with pytest.raises(ValueError, match="causal=False is not possible for lmu"):
        create_mixer("lmu", 4, causal=False)
    with pytest.raises(ValueError, match="depth must be at least 1, got 0"):
        create_mixer("conv_stem", 4, depth=0)
