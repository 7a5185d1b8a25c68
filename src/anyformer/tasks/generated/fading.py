"""Predicting a fading radio channel."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from anyformer.metrics import create_metric
from anyformer.objectives import Forecast
from anyformer.tasks import register_task
from anyformer.tasks.base import Reference, check_integer
from anyformer.tasks.generated._base import GeneratedTask
from anyformer.tasks.references import LastValue, WindowMean

_PATHS = 8
_DOPPLER = (0.01, 0.06)
_NOISE = (0.03, 0.5)


@register_task("fading")
class Fading(GeneratedTask):
    """The next value of a fading radio channel, from noisy past ones.

    A channel is a sum of 8 paths that come in from all sides, h_t = sum_p a_p exp(i (2 pi f t cos angle_p + phase_p)),
    of unit power (the Jakes model); seen are its real and imaginary parts under noise. The Doppler frequency f is
    drawn for each sample from 0.01 to 0.06 turns a step, and so is the noise's standard deviation, from 0.03 to 0.5
    on a log scale. At a test length the window is longer than any that was trained on.

    Args:
        length: values in a window.
        seed: fixes every sample.
    """

    name = "fading"
    num_features = 2

    def __init__(self, *, length: int = 16, seed: int = 0) -> None:
        check_integer("length", length, low=2)
        self.train_length = length
        self.lengths = (2 * length, 4 * length)
        self.seed = seed
        self.objective = Forecast(1, 2)
        self.metric = create_metric("mse", self.question)
        self.title = f"Predict a fading channel from its last {length} values."

    def _generate(self, rng: np.random.Generator, count: int, length: int) -> dict[str, np.ndarray]:
        doppler = rng.uniform(*_DOPPLER, (count, 1, 1))
        angle, phase = rng.uniform(0, 2 * np.pi, (2, count, _PATHS, 1))
        gain = rng.standard_normal((2, count, _PATHS, 1)) / np.sqrt(2 * _PATHS)
        turn = 2 * np.pi * doppler * np.arange(length + 1) * np.cos(angle) + phase
        channel = ((gain[0] + 1j * gain[1]) * np.exp(1j * turn)).sum(1)
        values = np.stack([channel.real, channel.imag], -1)
        noise = np.exp(rng.uniform(math.log(_NOISE[0]), math.log(_NOISE[1]), (count, 1, 1)))
        seen = values[:, :-1] + noise * rng.standard_normal((count, length, 2)) / np.sqrt(2)
        ones = np.ones((count, 1, 2))
        return {
            "x": seen.astype(np.float32),
            "targets": values[:, -1:].astype(np.float32),
            "shift": 0 * ones,
            "scale": ones,
        }

    def references(self) -> list[Reference]:
        """The last value, and the window's mean."""
        return [LastValue([0, 1]), WindowMean([0, 1])]

    def describe(self) -> dict[str, Any]:
        """Return facts for the report."""
        return {**super().describe(), "paths": _PATHS, "doppler": list(_DOPPLER), "noise": list(_NOISE)}
