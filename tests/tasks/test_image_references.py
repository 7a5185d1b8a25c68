"""Histograms of gradients against a loop, and predictors that find what they can see."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn import datasets

from anyformer.images.form import ImageForm
from anyformer.tasks import score_reference
from anyformer.tasks.image_references import (
    ORIENTATIONS,
    GradientLinear,
    NearestImages,
    PixelLinear,
    histograms,
)
from anyformer.tasks.images import ImageTask


def task(pixels: np.ndarray, y: np.ndarray, **options: object) -> ImageTask:
    form = ImageForm(size=pixels.shape[1:3], channels=pixels.shape[3])
    given = {"classes": [str(name) for name in range(int(y.max()) + 1)], "values": ["class"], **options}
    return ImageTask(pixels, y, name="photos", form=form, **given)  # type: ignore[arg-type]


def test_histograms_are_the_loops() -> None:
    x = torch.randn(2, 3, 4, 6, dtype=torch.float64)
    B, C, H, W = x.shape
    counts = torch.zeros(B, ORIENTATIONS, H, W, dtype=torch.float64)
    for b, r, c in np.ndindex(B, H, W):
        best = (-1.0, 0.0)
        for channel in range(C):
            image = x[b, channel]
            across = float(image[r, min(c + 1, W - 1)] - image[r, max(c - 1, 0)])
            down = float(image[min(r + 1, H - 1), c] - image[max(r - 1, 0), c])
            best = max(best, (math.hypot(across, down), math.atan2(down, across) % math.pi))
        place = best[1] * ORIENTATIONS / math.pi
        low = math.floor(place)
        counts[b, low % ORIENTATIONS, r, c] += best[0] * (1 - place + low)
        counts[b, (low + 1) % ORIENTATIONS, r, c] += best[0] * (place - low)
    cells = counts.unflatten(3, (3, 2)).unflatten(2, (2, 2)).mean((3, 5))  # 2 x 3 cells
    blocks = torch.stack([cells[:, :, :, column : column + 2].flatten(1) for column in (0, 1)], 1)
    blocks = blocks / (blocks.square().sum(-1, keepdim=True) + 1e-4).sqrt()
    colours = x.unflatten(3, (3, 2)).unflatten(2, (2, 2)).mean((3, 5))
    torch.testing.assert_close(histograms(x), torch.cat([blocks.flatten(1), colours.flatten(1)], 1))


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (3, 2), (64, 48)])
def test_any_size_has_histograms(size: tuple[int, int]) -> None:
    found = histograms(torch.randn(2, 1, *size))
    assert found.shape[0] == 2 and torch.isfinite(found).all()


def test_what_each_sees() -> None:
    """The place of a bright half is in the pixels; the direction of stripes at random places is in the gradients."""
    rng = np.random.default_rng(0)
    y = np.arange(200) % 2
    halves = np.array([np.repeat([[c], [1 - c]], 6, 0) * np.ones((1, 12)) for c in y])
    rows = np.arange(12)[None, :, None] * np.ones((1, 1, 12))
    across = np.where(y[:, None, None] == 1, rows, rows.transpose(0, 2, 1))
    stripes = np.sin(across + rng.uniform(0, 7, (200, 1, 1)))
    scores = {}
    for name, images in {"halves": halves, "stripes": stripes}.items():
        noisy = np.clip(120 + 60 * images + 20 * rng.standard_normal(images.shape), 0, 255)
        made = task(noisy[..., None].astype(np.uint8), y)
        for reference in (PixelLinear(), GradientLinear()):
            scores[name, reference.name] = score_reference(reference.fit(made), made)
    assert scores["halves", "linear"] == scores["halves", "gradients"] == scores["stripes", "gradients"] == 1
    assert scores["stripes", "linear"] < 0.8


def test_neighbours_tell_handwritten_digits() -> None:
    digits = datasets.load_digits()
    made = task((16 * digits.images).clip(0, 255).astype(np.uint8)[..., None], digits.target)
    one = NearestImages().fit(made)
    assert score_reference(one, made) > 0.98 > score_reference(PixelLinear().fit(made), made)
    assert one.parameters == made.size("train") * 64


def test_neighbours_choose_the_metric() -> None:
    """Shapes under any light and contrast are alike by correlation; the light itself is in the distance alone."""
    rng = np.random.default_rng(0)
    y, light = rng.integers(0, 2, 120), rng.uniform(30, 220, 120)
    shape = np.where(y[:, None, None] == 1, np.eye(6), np.eye(6)[::-1]) - 1 / 6
    noise = rng.standard_normal((120, 6, 6))
    shapes = light[:, None, None] + rng.uniform(4, 8, (120, 1, 1)) * shape + noise / 2
    lights = 100 + 20 * y[:, None, None] + 5 * noise
    for images, metric in ((shapes, "correlation"), (lights, "euclidean")):
        made = task(images.clip(0, 255).astype(np.uint8)[..., None], y)
        one = NearestImages().fit(made)
        assert one.metric == metric and score_reference(one, made) > 0.97


def test_numbers_are_regressed() -> None:
    y = np.random.default_rng(0).uniform(0, 200, (80, 1))
    made = task(
        (y[:, :, None, None] * np.ones((1, 20, 30, 3))).astype(np.uint8), y, classes=None, values=["light"]
    )
    best = [score_reference(reference.fit(made), made) for reference in made.references()]
    assert best[0] > 20 > 5 > max(best[1:])
