"""A two-dimensional flow, one step later."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.stats import norm

from anyformer.metrics import create_metric
from anyformer.objectives import NextToken
from anyformer.tasks import register_task
from anyformer.tasks.base import Reference, check_integer
from anyformer.tasks.generated._base import GeneratedTask
from anyformer.tasks.references import SameToken, Token

_COLUMNS = 8
_STRENGTH = 2.0
_VISCOSITY = 0.02
_STEPS, _DT = 10, 0.1


@register_task("vortices")
class Vortices(GeneratedTask):
    """The vorticity of an incompressible flow on a torus, from an earlier one: 8 columns of cells, read row by row.

    w_t + u . grad w = 0.02 laplacian w, where u = (psi_y, -psi_x) and laplacian psi = -w: every vortex moves all
    others. Fields start as Gaussian noise with wavelengths of 3 cells and more and standard deviation 2, and evolve for
    a unit of time, in which the flow advects by a cell or two; 8 cells are 2 pi. A token is the level of a
    cell's vorticity, the levels being equally likely at the start; the target is the same cell's level at the end.
    Not causal: a cell's future depends on all cells. At a test length there are more rows.

    Args:
        levels: number of tokens.
        seed: fixes every sample.
    """

    name = "vortices"
    sees_whole = True

    def __init__(self, *, levels: int = 8, seed: int = 0) -> None:
        check_integer("levels", levels, low=2)
        self.vocab_size = levels
        self.train_length = _COLUMNS**2
        self.lengths = (2 * self.train_length, 4 * self.train_length)
        self.seed = seed
        self.objective = NextToken(levels)
        self.metric = create_metric("accuracy", self.question)
        self.title = f"Predict a two-dimensional flow in {levels} levels of vorticity."

    def _generate(self, rng: np.random.Generator, count: int, length: int) -> dict[str, np.ndarray]:
        before = start_field(rng, count, length // _COLUMNS)
        after = flow(before)
        edges = _STRENGTH * norm.ppf(np.arange(1, self.vocab_size or 2) / (self.vocab_size or 2))
        x, targets = (np.digitize(w, edges).reshape(count, length) for w in (before, after))
        return {"x": x, "targets": targets}

    def references(self) -> list[Reference]:
        """Chance, and persistence."""
        return [
            Token(0, "chance", "always the same level: right about once in as many as there are"),
            SameToken("persistence", "the level that the cell has: nothing moves"),
        ]

    def describe(self) -> dict[str, Any]:
        """Return facts for the report."""
        return {
            **super().describe(),
            "vocab_size": self.vocab_size,
            "columns": _COLUMNS,
            "time": _STEPS * _DT,
        }


def _waves(shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the wave numbers of both axes, and a mask of those kept: below two thirds of the largest."""
    kx = np.fft.fftfreq(shape[0], 1 / _COLUMNS)[:, None] * np.ones(shape[1] // 2 + 1)
    ky = np.fft.rfftfreq(shape[1], 1 / _COLUMNS)[None] * np.ones((shape[0], 1))
    kept = (np.abs(kx) < _COLUMNS / 3) & (np.abs(ky) < _COLUMNS / 3) & (kx**2 + ky**2 > 0)
    return kx, ky, kept


def start_field(rng: np.random.Generator, count: int, rows: int) -> np.ndarray:
    """Draw initial vorticities (count, rows, 8)."""
    *_, kept = _waves((rows, _COLUMNS))
    w = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((count, rows, _COLUMNS))) * kept, s=(rows, _COLUMNS))
    scaled: np.ndarray = _STRENGTH * w / w.std(axis=(1, 2), keepdims=True)
    return scaled


def flow(w: np.ndarray, steps: int = _STEPS, dt: float = _DT) -> np.ndarray:
    """Return the vorticity (count, rows, 8) after ``steps`` of ``dt``, by the classical Runge-Kutta method."""
    shape = (w.shape[1], w.shape[2])
    kx, ky, kept = _waves(shape)
    square = np.where(kx**2 + ky**2 > 0, kx**2 + ky**2, 1.0)

    def rate(h: np.ndarray) -> np.ndarray:
        psi = h / square
        u, v, wx, wy = (
            np.fft.irfft2(f, s=shape) for f in (1j * ky * psi, -1j * kx * psi, 1j * kx * h, 1j * ky * h)
        )
        moved: np.ndarray = -np.fft.rfft2(u * wx + v * wy) * kept - _VISCOSITY * square * h
        return moved

    h = np.fft.rfft2(w)
    for _ in range(steps):
        a = rate(h)
        b = rate(h + dt / 2 * a)
        c = rate(h + dt / 2 * b)
        d = rate(h + dt * c)
        h = h + dt / 6 * (a + 2 * b + 2 * c + d)
    after: np.ndarray = np.fft.irfft2(h, s=shape)
    return after
