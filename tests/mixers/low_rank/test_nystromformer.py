from __future__ import annotations

import pytest
import torch

from anyformer.contract import Call
from anyformer.inputs import Layout
from anyformer.mixers import create_mixer
from anyformer.mixers.low_rank.nystromformer import newton_inverse, segment_weights


def test_the_iteration_finds_the_pseudo_inverse_of_each_matrix() -> None:
    a = torch.rand(3, 2, 6, 6, dtype=torch.float64).softmax(-1)
    a[0, 0] = torch.eye(6)
    a[1, 1, 3:], a[1, 1, :, 3:] = 0.0, 0.0  # landmarks that are not there
    torch.testing.assert_close(newton_inverse(a, 40), torch.linalg.pinv(a), atol=1e-9, rtol=1e-9)
    torch.testing.assert_close(newton_inverse(a, 6)[1, 0], newton_inverse(a[1, 0], 6))


@pytest.mark.parametrize(
    "T, expected", [(6, [0, 0, 1, 1, 2, 2]), (7, [0, 0, 0, 1, 1, 2, 2]), (2, [0, 1]), (0, [])]
)
def test_segments_are_equal_parts_of_the_real_tokens(T: int, expected: list[int]) -> None:
    x = torch.zeros(1, T + 3, 1)
    mask = torch.cat([torch.ones(1, T), torch.zeros(1, 3)], 1).bool()
    inputs = Layout.of(x, mask).inputs(None, None, None, Call(), torch.float64)
    weights = segment_weights(inputs, 3, torch.float64)
    for s in range(3):
        members = [i for i, number in enumerate(expected) if number == s]
        row = torch.zeros(T + 3, dtype=torch.float64)
        row[members] = 1 / max(1, len(members))
        torch.testing.assert_close(weights[0, s], row)


def test_is_the_formula() -> None:
    mixer = create_mixer("nystromformer", 8, num_heads=2, num_landmarks=3, conv_width=3).double()
    x = torch.randn(2, 9, 8, dtype=torch.float64)
    q, k, v = (layer(x).reshape(2, 9, 2, 4).transpose(1, 2) for layer in (mixer.q, mixer.k, mixer.v))
    q_marks, k_marks = (t.reshape(2, 2, 3, 3, 4).mean(3) for t in (q, k))
    f, a, b = ((s / 2).softmax(-1) for s in (q @ k_marks.mT, q_marks @ k_marks.mT, q_marks @ k.mT))
    y = f @ newton_inverse(a, 6) @ b @ v
    around = torch.nn.functional.pad(v, (0, 0, 1, 1))
    for h in range(2):
        taps = mixer.conv.weight[h, 0, :, 0]
        y[:, h] += sum(taps[i] * around[:, h, i : i + 9] for i in range(3))
    torch.testing.assert_close(mixer(x), mixer.out(y.transpose(1, 2).flatten(2)))


@pytest.mark.parametrize(
    "options, message",
    [
        ({"causal": True}, "causal=True is not possible for nystromformer"),
        ({"num_landmarks": 0}, "num_landmarks and iterations must be at least 1, got 0 and 6"),
        ({"conv_width": 4}, "conv_width must be odd, or 0 for none, got 4"),
        ({"num_heads": 3}, "num_heads must divide dim=8"),
    ],
)
def test_errors(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        create_mixer("nystromformer", 8, **options)
