"""The fading channel."""

from __future__ import annotations

import pytest
import torch
from scipy.special import j0

from anyformer.tasks import create_task, score_reference
from anyformer.tasks.generated.fading import _DOPPLER, Fading


def test_it_fades_as_jakes_says() -> None:
    """Unit power, and a correlation of two steps d apart that is the mean of J0(2 pi f d)."""
    task = Fading(length=8)
    batch = task.train_batch(0, 40_000)
    last, ahead = batch.x[:, -1].double(), batch.targets[:, 0].double()
    assert float(ahead.square().sum(-1).mean()) == pytest.approx(1, abs=0.03)
    for distance in (1, 5, 8):
        found = float((batch.x[:, 8 - distance].double() * ahead).sum(-1).mean())
        doppler = torch.linspace(*_DOPPLER, 500).numpy()
        assert found == pytest.approx(float(j0(2 * torch.pi * doppler * distance).mean()), abs=0.03)
    assert last.shape == (40_000, 2)


def test_reproducible_at_every_length() -> None:
    one, other = create_task("fading", seed=3), create_task("fading", seed=3)
    assert torch.equal(one.train_batch(5, 8).x, other.train_batch(5, 8).x)
    for length in (one.train_length, *one.lengths):
        batch = next(iter(one.eval_batches("test", 8, length=length)))
        assert batch.x.shape == (8, length, 2) and batch.targets.shape == (8, 1, 2)
    last, mean = (score_reference(r.fit(one), one) for r in one.references())
    assert last < 0.05 < mean
    with pytest.raises(ValueError, match="length must be an integer at least 2, got 1"):
        create_task("fading", length=1)
