"""Facts about nodes and pairs of nodes that follow from the edges alone."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.sparse.csgraph import dijkstra

from anyformer.tasks.graphs.data import Graphs

FARTHEST = 16
"""The longest path whose length is told; longer ones count as this long."""
ROUNDS = 3
"""Rounds of colour refinement, after which a node's colour tells its neighbourhood up to so many edges."""
DECIMALS = 5
"""To which numbers of nodes are compared."""


def pairs_of(graphs: Graphs, kinds: np.ndarray, *, directed: bool) -> pd.DataFrame:
    """Return the pairs of nodes that edges join, each in both orders, once.

    Args:
        graphs: with their edges.
        kinds: ``(E,)`` texts.
        directed: the kind of a pair says which way its edge goes.

    Returns:
        ``from`` and ``to`` int64, a node and one that it sees; ``kind``, the text: of several edges, all their kinds.
    """
    source, target = graphs.ends.T
    there, back = (kinds, kinds)
    if directed:  # the node that an edge enters sees the one that it leaves
        there, back = (np.array([f"{way} {kind}" for kind in kinds], dtype=object) for way in ("in", "out"))
    found = pd.DataFrame(
        {
            "from": np.concatenate([target, source]),
            "to": np.concatenate([source, target]),
            "kind": np.concatenate([there, back]),
        }
    ).drop_duplicates()
    several = found.duplicated(["from", "to"], keep=False)
    if several.any():
        joined = (
            found[several].sort_values("kind").groupby(["from", "to"], as_index=False)["kind"].agg(" & ".join)
        )
        found = pd.concat([found[~several], joined], ignore_index=True)
    return found.sort_values(["from", "to"], ignore_index=True)


def matrices(
    pairs: pd.DataFrame,
    values: np.ndarray,
    starts: np.ndarray,
    sizes: np.ndarray,
    place: np.ndarray | None = None,
) -> Iterator[np.ndarray]:
    """Yield for each graph the matrix ``(n, n)`` that holds the value of each pair of its nodes, 0 for others.

    Args:
        pairs: as of :func:`pairs_of`.
        values: ``(P,)``.
        starts, sizes: the first node of each graph, and their number.
        place: ``(N,)``, the row of each node, by default its number.
    """
    origin, to = pairs["from"].to_numpy(), pairs["to"].to_numpy()
    bounds = np.append(np.searchsorted(origin, starts), len(origin))
    rows, columns = (origin, to) if place is None else (place[origin], place[to])
    for start, size, first, last in zip(starts, sizes, bounds, bounds[1:]):
        found = np.zeros((size, size), values.dtype)
        found[rows[first:last] - start, columns[first:last] - start] = values[first:last]
        yield found


def relations(kinds: np.ndarray) -> np.ndarray:
    """Return what relates each pair of nodes of a graph, as :mod:`anyformer.layers.edges` has it: ``(n, n)`` int8.

    Args:
        kinds: ``(n, n)``, the kinds from 1 of the pairs that edges join, 0 for others.
    """
    paths = dijkstra(sparse.csr_matrix(kinds > 0), directed=True, unweighted=True)
    far = np.where(np.isinf(paths), 0, np.minimum(paths, FARTHEST))
    found: np.ndarray = np.where(kinds > 0, kinds, -far).astype(np.int8)
    return found


def walks(joined: np.ndarray, longest: int) -> np.ndarray:
    """Return the probabilities that a random walk of 2 to ``longest`` steps ends where it began: ``(n, longest - 1)``.

    (Dwivedi et al. 2022, arXiv 2110.07875, section 3: random-walk positional encoding.)

    Args:
        joined: ``(n, n)`` of 0 and 1, without edges from a node to itself.
        longest: steps.
    """
    found = np.zeros((len(joined), max(longest - 1, 0)), np.float32)
    step = (joined / np.maximum(joined.sum(1, keepdims=True), 1)).astype(np.float32)
    powers = [step]
    for length in range(2, longest + 1):
        half = (length + 1) // 2
        if half > len(powers):
            powers.append(powers[-1] @ step)
        found[:, length - 2] = np.einsum("ts,st->t", powers[half - 1], powers[length - half - 1])
    return found


def mixed(values: np.ndarray) -> np.ndarray:
    """Return well-mixed hashes of uint64 numbers (the finaliser of splitmix64)."""
    z = values.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    found: np.ndarray = z ^ (z >> np.uint64(31))
    return found


def hashed(values: np.ndarray) -> np.ndarray:
    """Return a uint64 hash of each value, equal ones having the same in every run."""
    codes, different = pd.factorize(values, use_na_sentinel=False)
    known = [blake2b(repr(value).encode(), digest_size=8).digest() for value in different]
    found: np.ndarray = np.array([int.from_bytes(one, "little") for one in known], np.uint64)[codes]
    return found


def colours(
    start: np.ndarray, pairs: pd.DataFrame, kinds: np.ndarray, rounds: int = ROUNDS
) -> list[np.ndarray]:
    """Return the colours of nodes after each round of refinement, the first before any (Weisfeiler and Leman 1968).

    Two nodes have the same colour after r rounds if no walk of r steps tells them apart, up to chance.

    Args:
        start: ``(N,)`` uint64, the first colours.
        pairs: as of :func:`pairs_of`.
        kinds: ``(P,)`` uint64, what tells the pairs apart.
        rounds: of refinement.
    """
    found = [start]
    origin, to = pairs["from"].to_numpy(), pairs["to"].to_numpy()
    for _ in range(rounds):
        sums = np.zeros_like(start)
        np.add.at(sums, origin, mixed(found[-1][to] ^ mixed(kinds)))
        found.append(mixed(found[-1] * np.uint64(3) + mixed(sums)))
    return found


def of_graphs(values: np.ndarray, owner: np.ndarray, count: int) -> np.ndarray:
    """Return a hash of the values of each graph's nodes, in any order: ``(count,)`` uint64."""
    found = np.zeros(count, np.uint64)
    np.add.at(found, owner, mixed(values))
    return found
