"""Images whose rows repeat."""

from __future__ import annotations

from typing import Any

import numpy as np

from anyformer.metrics import create_metric
from anyformer.objectives import IGNORED, NextToken
from anyformer.tasks import register_task
from anyformer.tasks.base import Reference, check_integer
from anyformer.tasks.generated._base import GeneratedTask
from anyformer.tasks.ngrams import NGram
from anyformer.tasks.references import Token


@register_task("wallpaper")
class Wallpaper(GeneratedTask):
    """The next pixel of an image, read row by row, whose rows repeat some rows further down.

    With 3 colours, 4 columns and a period of 2 rows, 4 rows and no noise::

        2 0 1 1      x        2 0 1 1 0 2 2 1 2 0 1 1 0 2 2
        0 2 2 1      target   . . . . . . . 2 0 1 1 0 2 2 1
        2 0 1 1
        0 2 2 1

    The first ``period`` rows are drawn at random and have no targets; a pixel below them is the one ``period`` rows
    above it, or with probability ``noise`` any colour. Only the token at the fixed distance ``period * columns``,
    straight above, is informative. A test length has more rows.

    Args:
        colours: number of tokens.
        columns, rows, period: of the image, the period counted in rows.
        noise: share of pixels that do not repeat.
        seed: fixes every sample.
    """

    name = "wallpaper"

    def __init__(
        self,
        *,
        colours: int = 8,
        columns: int = 8,
        rows: int = 12,
        period: int = 5,
        noise: float = 0.05,
        seed: int = 0,
    ) -> None:
        check_integer("colours", colours, low=2)
        check_integer("columns", columns, low=1)
        check_integer("period", period, low=1)
        check_integer("rows", rows, low=period + 1)
        if not 0 <= noise < 1:
            raise ValueError(f"noise must be at least 0 and below 1, got {noise}")
        self.vocab_size, self.columns, self.period, self.noise = colours, columns, period, noise
        self.train_length = rows * columns - 1
        self.lengths = (2 * rows * columns - 1, 4 * rows * columns - 1)
        self.seed = seed
        self.objective = NextToken(colours)
        expected = 1 - noise + noise / colours
        self.metric = create_metric("accuracy", self.question, best=expected)
        self.title = f"Predict images of {columns} columns that repeat each {period} rows."

    def _generate(self, rng: np.random.Generator, count: int, length: int) -> dict[str, np.ndarray]:
        assert self.vocab_size is not None
        image = rng.integers(0, self.vocab_size, (count, length + 1))
        kept = rng.random((count, length + 1)) >= self.noise
        back = self.period * self.columns
        for start in range(back, length + 1, back):
            here = slice(start, min(start + back, length + 1))
            above = image[:, start - back : here.stop - back]
            image[:, here] = np.where(kept[:, here], above, image[:, here])
        targets = image[:, 1:].copy()
        targets[:, : back - 1] = IGNORED
        return {"x": image[:, :-1], "targets": targets}

    def references(self) -> list[Reference]:
        """Chance, and n-grams of the last few pixels."""
        return [Token(0, "chance", "always the same colour: right once in as many as there are"), NGram(3)]

    def describe(self) -> dict[str, Any]:
        """Return facts for the report."""
        facts = {"vocab_size": self.vocab_size, "columns": self.columns, "period": self.period}
        return {**super().describe(), **facts, "noise": self.noise}
