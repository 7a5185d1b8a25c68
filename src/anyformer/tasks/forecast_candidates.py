"""Models that are compared by default where series are forecast from windows of numbers alone."""

from __future__ import annotations

ALONE = ("dlinear", "patchtst", "transformer", "mamba depth=2")
WHY_ALONE = (
    "the series stands alone: the first two read its window at once, by linear maps and by patches, the others step by "
    "step"
)
SEVERAL = ("dlinear", "patchtst", "itransformer", "mamba depth=2")
WHY_SEVERAL = (
    "there are several columns: the first two read each target by itself, itransformer attends between all, and mamba "
    "reads all step by step"
)


def default_candidates(columns: int) -> tuple[tuple[str, ...], str]:
    """Return the names of models for windows of so many columns, and why these."""
    return (ALONE, WHY_ALONE) if columns == 1 else (SEVERAL, WHY_SEVERAL)
