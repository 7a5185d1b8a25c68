from __future__ import annotations

import pytest
import torch

from anyformer.mixers import create_mixer
from anyformer.models import load_spec


def test_step_by_step() -> None:
    mixer = create_mixer("qrnn", 4, width=3).double()
    x = torch.randn(6, 4, dtype=torch.float64)
    padded, c, expected = torch.cat((torch.zeros(2, 4), x)), torch.zeros(4), []
    for t in range(6):
        z, f, o = mixer.gates(padded[t : t + 3].flatten().double()).chunk(3)
        c = f.sigmoid() * c + (1 - f.sigmoid()) * z.tanh()
        expected.append(o.sigmoid() * c)
    torch.testing.assert_close(mixer(x[None])[0], torch.stack(expected))


def test_the_schedule_of_the_model() -> None:
    names = [part.name for part in load_spec("qrnn_transformer depth=5").layers]
    assert names == ["qrnn", "attention", "qrnn", "qrnn", "attention"]


def test_errors() -> None:
    with pytest.raises(ValueError, match="causal=False is not possible for qrnn"):
        create_mixer("qrnn", 8, causal=False)
    with pytest.raises(ValueError, match="width must be at least 1, got 0"):
        create_mixer("qrnn", 8, width=0)
