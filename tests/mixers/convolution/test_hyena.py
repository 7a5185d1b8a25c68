from __future__ import annotations

import pytest
import torch

from anyformer.mixers import create_mixer
from anyformer.state import state_bytes


def test_recurrence_of_the_paper() -> None:
    mixer = create_mixer("hyena", 3, order=2, max_length=64).double()
    x = torch.randn(1, 30, 3, dtype=torch.float64)
    first, second, z = mixer.conv(mixer.into(x))[0].chunk(3, -1)
    kernels = mixer.filter(30)
    t, s = torch.arange(30)[:, None], torch.arange(30)
    for gate, kernel, skip in zip((first, second), kernels, mixer.skip):
        matrix = kernel[:, (t - s).clamp_min(0)] * (s <= t)
        z = gate * (torch.einsum("dts,bsd->btd", matrix, z) + skip * z)
    torch.testing.assert_close(mixer(x), mixer.out(z), rtol=1e-9, atol=1e-9)


def test_a_kernel_does_not_depend_on_how_much_of_it_is_asked_for() -> None:
    mixer = create_mixer("hyena", 4, max_length=64)
    torch.testing.assert_close(mixer.filter(64)[..., :10], mixer.filter(10))


def test_the_state_grows_with_the_tokens() -> None:
    mixer = create_mixer("hyena", 4, max_length=64)
    state, sizes = mixer.init_state(2), []
    for _ in range(3):
        _, state = mixer.stream(torch.randn(2, 5, 4), state)
        sizes.append(state_bytes(state))
    assert sizes[1] - sizes[0] == sizes[2] - sizes[1] == 4 * 2 * 2 * 5 * 4


def test_errors() -> None:
    mixer = create_mixer("hyena", 4, max_length=8)
    with pytest.raises(ValueError, match="at most 8 tokens"):
        mixer(torch.randn(1, 9, 4))
    with pytest.raises(ValueError, match="causal=False is not possible"):
        create_mixer("hyena", 4, causal=False)
    with pytest.raises(ValueError, match="max_length must be at least 1"):
        create_mixer("hyena", 4, max_length=0)
    with pytest.raises(ValueError, match="order and hidden_dim"):
        create_mixer("hyena", 4, order=0)
