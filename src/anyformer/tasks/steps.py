"""Series, as the steps of time of which forecasts are made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from anyformer.tasks.encoding import filled


@dataclass(frozen=True)
class Series:
    """One regular series, or a part of one: parts have one name, and come in order of time.

    Attributes:
        values: numbers that each window normalises by itself, ``(n, M)`` float64, NaN where unknown.
        start: index of the first step on the grid that all series share.
        name: of the series.
        covariates: numbers on the same scale everywhere, ``(n, K)`` float64, NaN where unknown.
        texts: categories by name, ``(n,)`` texts, None where missing.
    """

    values: np.ndarray
    start: int = 0
    name: str = ""
    covariates: np.ndarray = field(default_factory=lambda: np.empty((0, 0)))
    texts: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.covariates.size:
            object.__setattr__(self, "covariates", np.empty((len(self.values), 0)))


class Steps:
    """The steps of all series, one below the other.

    Attributes:
        values: ``(N, M)``, filled with the last known value, NaN before the first of a series.
        missing: ``(N, M)`` bool, True where it was filled or is NaN.
        covariates: ``(N, K)``, NaN where unknown.
        texts: by name ``(N,)``.
        grid: index of each step on the grid.
        owner: the number of the series, or part of one, that each step belongs to.
    """

    def __init__(self, series: Sequence[Series]) -> None:
        self.missing = np.isnan(np.concatenate([one.values for one in series]).astype(np.float64))
        self.values = np.concatenate([filled(one.values) for one in series])
        self.covariates = np.concatenate([one.covariates for one in series]).astype(np.float64)
        self.texts = {name: np.concatenate([one.texts[name] for one in series]) for name in series[0].texts}
        self.grid = np.concatenate([one.start + np.arange(len(one.values)) for one in series])
        self.owner = np.repeat(np.arange(len(series)), [len(one.values) for one in series])

    def __len__(self) -> int:
        return len(self.values)
