from __future__ import annotations

import pytest
import torch
from torch.nn.functional import avg_pool1d

from anyformer.mixers import create_mixer


@pytest.mark.parametrize("window", [3, 5])
def test_centred_pooling_is_average_pooling_less_the_token(window: int) -> None:
    x = torch.randn(2, 11, 4, dtype=torch.float64)
    expected = (
        avg_pool1d(x.transpose(1, 2), window, 1, window // 2, count_include_pad=False).transpose(1, 2) - x
    )
    torch.testing.assert_close(create_mixer("pooling", 4, window=window, causal=False)(x), expected)


def test_causal_pooling_averages_the_last_tokens() -> None:
    x = torch.randn(2, 11, 4, dtype=torch.float64)
    expected = torch.stack([x[:, max(0, t - 3) : t + 1].mean(1) for t in range(11)], 1) - x
    torch.testing.assert_close(create_mixer("pooling", 4, window=4)(x), expected)


def test_padding_does_not_count() -> None:
    mixer = create_mixer("pooling", 4, causal=False)
    x = torch.randn(1, 9, 4, dtype=torch.float64)
    mask = torch.tensor([[False, True, True, False, True, True, True, False, False]])
    torch.testing.assert_close(mixer(x, mask=mask)[mask], mixer(x[mask][None])[0])


@pytest.mark.parametrize(
    "options, message",
    [
        ({"window": 1}, "window must be at least 2, got 1"),
        ({"window": 4, "causal": False}, "window must be odd"),
    ],
)
def test_errors(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        create_mixer("pooling", 4, **options)
