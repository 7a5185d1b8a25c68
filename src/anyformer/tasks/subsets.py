"""Representative subsets of a split, and clusters of its samples."""

from __future__ import annotations

import numpy as np


def spread_order(size: int, rng: np.random.Generator) -> np.ndarray:
    """Return a permutation of ``range(size)`` with every prefix spread evenly over the whole.

    Of the first ``2**k`` numbers one lies in each of ``2**k`` equal intervals, at a random position: nested
    stratified sampling (Owen 1997 for one dimension), which does not alias with periods in the data.
    """
    priority = rng.permutation(size)
    holder = np.argsort(priority)
    levels = max(size - 1, 0).bit_length()
    level = np.full(size, levels)
    for k in range(levels):
        starts = -(-np.arange(2**k, dtype=np.int64) * size // 2**k)
        first = holder[np.minimum.reduceat(priority, starts)]
        level[first] = np.minimum(level[first], k)
    order: np.ndarray = np.lexsort((priority, level))
    return order


def stratified_order(strata: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a permutation with each stratum's share in every prefix, spread evenly over the whole.

    Args:
        strata: ``(size,)``, the stratum of each number.
        rng: draws the order.
    """
    key = np.empty(len(strata))
    _, codes, counts = np.unique(strata, return_inverse=True, return_counts=True)
    members = np.split(np.argsort(codes, kind="stable"), np.cumsum(counts)[:-1])
    for numbers in members:
        size = len(numbers)
        key[numbers[spread_order(size, rng)]] = (np.arange(size) + rng.random()) / size
    order: np.ndarray = np.argsort(key, kind="stable")
    return order


def neighbours(places: np.ndarray, *, shortest: int, most: int) -> np.ndarray:
    """Return the block, from 0, of each place: at most ``most`` blocks of neighbours, each at least ``shortest`` long.

    Args:
        places: ``(size,)`` integers, in any order.
        shortest: length of a block in places.
        most: number of blocks.
    """
    first, span = int(places.min()), int(places.max() - places.min()) + 1
    count = max(1, min(most, span // shortest))
    found: np.ndarray = (places - first) * count // span
    return found
