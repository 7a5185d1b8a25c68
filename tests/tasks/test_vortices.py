"""The two-dimensional flow."""

from __future__ import annotations

import numpy as np
import pytest

from anyformer.tasks import create_task, score_reference
from anyformer.tasks.generated.vortices import flow, start_field


def test_a_single_wave_only_fades() -> None:
    """Of one wave number k, the flow is along the lines of equal vorticity: w exp(-0.02 k^2 t) is the solution."""
    rows, columns = np.meshgrid(np.arange(16), np.arange(8), indexing="ij")
    for a, b in ((1, 0), (0, 2), (1, 2)):
        w = 3 * np.sin(2 * np.pi / 8 * (a * rows + b * columns))[None]
        np.testing.assert_allclose(flow(w), w * np.exp(-0.02 * (a * a + b * b)), atol=1e-6)


def test_it_is_integrated_and_keeps_what_it_must() -> None:
    w = start_field(np.random.default_rng(0), 20, 8)
    after = flow(w)
    np.testing.assert_allclose(after, flow(w, 80, 1 / 80), atol=2e-2)
    np.testing.assert_allclose(after.mean((1, 2)), 0, atol=1e-12)
    assert ((after**2).mean((1, 2)) < (w**2).mean((1, 2))).all()  # viscosity takes enstrophy
    for axis in (1, 2):  # no place is special
        np.testing.assert_allclose(flow(np.roll(w, 3, axis)), np.roll(after, 3, axis), atol=1e-9)


def test_the_flow_moves() -> None:
    task = create_task("vortices")
    chance, same = (score_reference(r.fit(task), task) for r in task.references())
    assert chance == pytest.approx(1 / 8, abs=0.02)
    assert 0.2 < same < 0.5
    batch = task.train_batch(0, 500)
    assert np.allclose(np.bincount(batch.x.numpy().ravel()) / batch.x.numel(), 1 / 8, atol=0.02)
