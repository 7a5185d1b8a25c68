"""Sizes that the user does not give: parameters of the candidates, and sequences in a batch.

At equal time a model may be too large, so that it sees too few tokens in too few steps, or too small for what it sees.
Measured on one core (``docs/compare.md``), the best size sees about ``TOKENS_A_PARAMETER`` tokens for each parameter,
and a step of a few hundred tokens more or less costs little, so that short runs are better with more, smaller steps.
"""

from __future__ import annotations

import math

from anyformer.compare.plan.budget import Budget

TOKENS_A_PARAMETER = 5
"""Tokens that a full run sees for each parameter, at the assumed speed."""
FEWEST_STEPS = 500
"""Steps of a full run for which batches become smaller than ``TOKENS`` allows."""
TOKENS = (1024, 4096)
"""Least and most tokens in a training step, where a sequence is not longer."""
SPEED, ACCELERATED = 1e10, 2e13
"""Assumed FLOPs in a second of one CPU worker and of an accelerator; a step takes 6 for each parameter and token."""
TRAINING_SHARE = 0.55
"""Share of a budget of time that full runs take."""
PARAMETERS = (20_000, 50_000_000)
"""Least and most parameters."""
ROUND = (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)
"""Leading figures of a size."""


def run_seconds(budget: Budget, workers: int, runs: int) -> float | None:
    """Return the seconds for a full run; None if the budget is not of time.

    Args:
        budget: of the whole comparison.
        workers: runs at the same time.
        runs: full runs in all.
    """
    return TRAINING_SHARE * budget.amount * workers / runs if budget.kind == "seconds" else None


def default_parameters(seconds: float | None, elements: int | None, *, accelerated: bool = False) -> int:
    """Return a round number of parameters that suits the time for a full run and the data.

    Args:
        seconds: for a full run; None if the time is not limited.
        elements: elements of the training split, of which a model has no more parameters; None if there is no end.
        accelerated: training runs on an accelerator.
    """
    wanted = 200_000.0
    if seconds is not None:
        wanted = math.sqrt(seconds * (ACCELERATED if accelerated else SPEED) / (6 * TOKENS_A_PARAMETER))
    least, most = PARAMETERS
    wanted = max(least, min(most, wanted, math.inf if elements is None else elements))
    size = 10 ** math.floor(math.log10(wanted) + 1e-9)
    return int(max(figure * size for figure in ROUND if figure * size <= wanted * (1 + 1e-9)))


def default_batch_size(length: int, tokens: float | None = None) -> int:
    """Return the largest power of two from 4 to 32 that keeps a step within the tokens for it, or 4.

    Short runs have smaller batches, but not of fewer tokens than the least where 32 sequences have so many.

    Args:
        length: elements of a sequence.
        tokens: tokens of a full run, of which each of ``FEWEST_STEPS`` has a part; None if it has any number.
    """
    least, most = TOKENS
    within = most if tokens is None else min(most, max(least, tokens / FEWEST_STEPS))
    fewest = 2 ** math.ceil(math.log2(max(1, least / length)))
    return max(4, min(32, max(fewest, 2 ** int(math.log2(max(1, within // length))))))


def default_eval_size(batch_size: int, samples: int) -> int:
    """Return the sequences in an evaluated batch: four training batches, which is faster, or a whole small test set."""
    return max(1, min(4 * batch_size, samples))
