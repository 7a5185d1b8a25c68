"""Shares of the steps at which kernels respond, by the definition."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from anyformer.layers.rocket import KERNELS, WEIGHTS, KernelShares, _between, dilations_for, segments_of

LENGTHS = torch.tensor([40, 40, 30, 20, 12])


def ragged(channels: int) -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.from_numpy(np.random.default_rng(1).normal(size=(5, channels, 40)))
    mask = torch.arange(40) < LENGTHS[:, None]
    return x * mask[:, None], mask


def share(made: KernelShares, x: np.ndarray, slot: int, kernel: int, begin: int, end: int) -> float:
    """The share of the steps from ``begin`` to before ``end`` of one series (C, T), by a plain loop."""
    dilation, steps = int(made.dilations[slot]), x.shape[1]
    place = sorted(set(made.dilations.tolist())).index(dilation)
    reach = 4 * dilation if (kernel + place) % 2 else 0
    hits = []
    for t in range(max(begin, reach), min(end, steps - reach)):
        taps = [(tap, t + (tap - 4) * dilation) for tap in range(9)]
        seen = np.flatnonzero(made.seen[slot, kernel].numpy())
        told = sum(WEIGHTS[kernel, i] * x[c, s] for i, s in taps for c in seen if 0 <= s < steps)
        hits.append(told > float(made.biases[slot, kernel]))
    return float(np.mean(hits)) if hits else 0.0


@pytest.mark.parametrize("channels, fitted", [(1, True), (3, True), (2, False)])
def test_shares_are_those_of_the_definition(channels: int, fitted: bool) -> None:
    x, mask = ragged(channels)
    made = KernelShares(10, channels).double()
    if fitted:
        made.fit(x, mask, np.random.default_rng(0))
    found = made(x, mask)
    assert found.shape == (5, 1, KERNELS * 10)
    for slot in range(10):
        for kernel in (0, 1, 83):
            for row, steps in enumerate(LENGTHS):
                wanted = share(made, x[row, :, :steps].numpy(), slot, kernel, 0, int(steps))
                assert float(found[row, 0, slot * KERNELS + kernel]) == pytest.approx(wanted, abs=1e-9)


def test_segments_divide_the_real_steps() -> None:
    x, mask = ragged(1)
    made = KernelShares(4, 1).double()
    made.fit(x, mask, np.random.default_rng(0))
    found = made(x, mask, 3)
    for row, steps in enumerate(LENGTHS.tolist()):
        ends = [-(-steps * part // 3) for part in range(4)]
        for part in range(3):
            wanted = share(made, x[row, :, :steps].numpy(), 1, 5, ends[part], ends[part + 1])
            assert float(found[row, part, KERNELS + 5]) == pytest.approx(wanted, abs=1e-9)
    assert segments_of(torch.tensor([[False, True, True, False, True]]), 2)[0].tolist() == [
        *([0, 0], [1, 0], [1, 0], [0, 0], [0, 1])
    ]


def test_biases_are_quantiles_of_a_training_series() -> None:
    x, mask = ragged(1)
    one = KernelShares(12, 1).double()
    one.fit(x[:1], mask[:1], np.random.default_rng(0))
    shares = one(x[:1], mask[:1])[0, 0].view(12, KERNELS)
    above = 1 - np.sort(np.arange(1, 12 * KERNELS + 1) * (5**0.5 + 1) / 2 % 1)
    assert np.abs(np.sort(shares.flatten().numpy())[::-1] - above).mean() < 0.03
    assert len({float(b) for b in one.biases[:, 3]}) == 12


def test_dilations_fit_the_length() -> None:
    assert sum(dilations_for(427, 119).values()) == 119 and max(dilations_for(427, 119)) == 53
    assert list(dilations_for(9, 8)) == [1]


@pytest.mark.parametrize("values", [2, 3])
def test_rounding_decides_no_share_where_many_responses_are_equal(values: int) -> None:
    x = torch.from_numpy(np.random.default_rng(0).integers(0, values, (12, 2, 40)) / 0.7 - 0.3)
    mask = torch.ones(12, 40, dtype=torch.bool)
    made = KernelShares(10, 2).double()
    made.fit(x, mask, np.random.default_rng(0))
    expected = made(x, mask)
    assert 0.2 < float(expected.mean()) < 0.8
    for noise in (1e-7, -1e-7):
        torch.testing.assert_close(made(x + noise * torch.rand_like(x), mask), expected, atol=0, rtol=0)
    torch.testing.assert_close(made.float()(x.float(), mask).double(), expected, atol=1e-6, rtol=0)


def test_a_bias_on_a_response_lies_between_it_and_the_next() -> None:
    values = torch.tensor([0.0, 1.0, 1.0, 1.0, 3.0])
    assert _between(values, torch.tensor([0.0, 0.4, 1.0, 2.5]), 1e-3).tolist() == pytest.approx(
        [0.382, 0.4, 1.764, 2.5]
    )
    assert 3.0 < float(_between(values, torch.tensor([3.0]), 1e-3)) < 3.5


def test_a_channel_that_is_the_same_in_training_says_nothing_later() -> None:
    rng = np.random.default_rng(0)
    x = torch.randn(20, 3, 50, generator=torch.Generator().manual_seed(0))
    x[:, 1] = 4.0
    mask = torch.arange(50) < torch.randint(30, 51, (20, 1), generator=torch.Generator().manual_seed(1))
    made = KernelShares(8, 3)
    made.fit(x, mask, rng)
    other = x.clone()
    other[:, 1] = -7.0
    assert torch.equal(made(other, mask), made(x, mask))
    other[:, 2] = -7.0
    assert not torch.equal(made(other, mask), made(x, mask))
    made.fit(x[:, 1:2].expand(-1, 3, -1), mask, rng)  # nothing varies
    assert bool(made(x, mask).isfinite().all())
