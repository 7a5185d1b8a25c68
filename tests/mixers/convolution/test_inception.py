"""Convolutions of several widths side by side."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import pad

from anyformer.mixers import create_mixer, mixer_info


@pytest.mark.parametrize("causal", [False, True])
def test_the_loop(causal: bool) -> None:
    torch.manual_seed(0)
    mixer = create_mixer("inception", 10, widths="3+5", causal=causal).double()
    x, rows = torch.randn(2, 11, 10, dtype=torch.float64), []
    r = x.clamp_min(0)
    for t in range(11):
        parts = []
        for taps, weight in zip((3, 5), mixer.weights):
            first = t - taps + 1 if causal else t - taps // 2
            seen = [(s, i) for i, s in enumerate(range(first, first + taps)) if 0 <= s < 11]
            parts.append(sum((r[:, s] @ mixer.into.weight.T) @ weight[:, :, i].T for s, i in seen))
        first = t - 2 if causal else t - 1
        parts.append(r[:, max(0, first) : first + 3].amax(1) @ mixer.pooled.weight.T)
        rows.append(torch.cat(parts, -1) + mixer.bias)
    torch.testing.assert_close(mixer(x), torch.stack(rows, 1))


def test_a_shape_is_told_wherever_it_is() -> None:
    """Pooled over time, a convolution tells a shape from its mirror image, which no bag of values can."""
    mixer = create_mixer("inception", 2, widths="3", causal=False)
    with torch.no_grad():
        mixer.into.weight.copy_(torch.tensor([[1.0, 0.0]]))
        mixer.weights[0].copy_(torch.tensor([[[1.0, 2.0, 3.0]]]))
    rising = torch.tensor([1.0, 2.0, 3.0])
    for place in range(1, 5):
        series = pad(torch.stack([rising, rising.flip(0)]), (place, 6 - place))[..., None].expand(-1, -1, 2)
        y = mixer(series)[..., 0].amax(1)
        assert y.tolist() == [14, 12]


def test_reach() -> None:
    assert mixer_info("inception", causal=False).reach == (19, 19)
    assert mixer_info("inception").reach == (38, 0)
    assert mixer_info("inception", widths="1", causal=False).reach == (1, 1)  # of the maximum


def test_refused() -> None:
    with pytest.raises(ValueError, match="widths must be numbers of taps from 1 on, joined by"):
        create_mixer("inception", 8, widths="9,19")
    with pytest.raises(ValueError, match="widths must be odd with causal=False, to be centred, got '4'"):
        create_mixer("inception", 8, widths="4", causal=False)
    with pytest.raises(ValueError, match="dim must be at least 4, one more than the widths, got 3"):
        create_mixer("inception", 3)
