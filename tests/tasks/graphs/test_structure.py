"""What edges tell: paths, walks, colours; against definitions, and whatever the order of the nodes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from graph_files import written
from hypothesis import given, settings
from hypothesis import strategies as st

from anyformer.tasks.graphs.jsonl import read_graphs
from anyformer.tasks.graphs.structure import (
    FARTHEST,
    colours,
    hashed,
    matrices,
    mixed,
    of_graphs,
    pairs_of,
    relations,
    walks,
)


def symmetric(count: int, seed: int, share: float = 0.3) -> np.ndarray:
    upper = np.triu(np.random.default_rng(seed).random((count, count)) < share, 1)
    found: np.ndarray = (upper | upper.T).astype(np.float32)
    return found


@settings(derandomize=True, max_examples=20, deadline=None)
@given(st.integers(1, 9), st.integers(0, 99))
def test_paths_and_kinds_of_pairs(count: int, seed: int) -> None:
    """The shortest path by powers of the adjacency matrix."""
    adjacency = symmetric(count, seed)
    kinds = adjacency.astype(np.int8) * 2
    found = relations(kinds)
    reached, power = np.eye(count, dtype=bool), np.eye(count)
    expected = kinds.astype(int)
    for distance in range(1, count):
        power = ((power @ adjacency) > 0).astype(float)
        new = (power > 0) & ~reached
        reached |= power > 0
        if distance > 1:
            expected[new] = -distance
    assert np.array_equal(found, expected) and found.dtype == np.int8


def test_far_paths_count_as_the_farthest() -> None:
    count = FARTHEST + 5
    found = relations(np.eye(count, k=1, dtype=np.int8) + np.eye(count, k=-1, dtype=np.int8))
    assert found[0].tolist() == [0, 1, *(-d for d in range(2, FARTHEST + 1)), *[-FARTHEST] * 4]


@settings(derandomize=True, max_examples=20, deadline=None)
@given(st.integers(1, 9), st.integers(0, 99), st.integers(0, 9))
def test_random_walks_return(count: int, seed: int, longest: int) -> None:
    adjacency = symmetric(count, seed)
    step = adjacency / np.maximum(adjacency.sum(1, keepdims=True), 1)
    powers = [np.diag(np.linalg.matrix_power(step.astype(float), n)) for n in range(2, longest + 1)]
    found = walks(adjacency, longest)
    assert found.shape == (count, max(longest - 1, 0))
    if powers:
        np.testing.assert_allclose(found, np.stack(powers, 1), atol=1e-6)


def test_colours_tell_neighbourhoods_apart() -> None:
    """On a path of five nodes, ends, their neighbours and the middle; on a ring none."""
    path = pd.DataFrame({"from": [0, 1, 1, 2, 2, 3, 3, 4], "to": [1, 0, 2, 1, 3, 2, 4, 3]})
    start, kinds = np.zeros(5, np.uint64), np.zeros(8, np.uint64)
    by_round = [len(set(colour.tolist())) for colour in colours(start, path, kinds)]
    assert by_round == [1, 2, 3, 3]
    other = kinds.copy()
    other[:2] = 1  # of another kind
    assert len(set(colours(start, path, other)[-1].tolist())) == 5
    ring = pd.DataFrame({"from": [0, 1, 2, 0, 1, 2], "to": [1, 2, 0, 2, 0, 1]})
    assert len(set(colours(np.zeros(3, np.uint64), ring, np.zeros(6, np.uint64))[-1].tolist())) == 1
    assert of_graphs(np.array([1, 2, 2, 1], np.uint64), np.array([0, 0, 1, 1]), 2).tolist().count(0) == 0
    first, second = of_graphs(np.array([1, 2, 2, 1], np.uint64), np.array([0, 0, 1, 1]), 2)
    assert first == second


def test_hashes_are_those_of_values() -> None:
    values = np.array(["a", None, "b", "a"], dtype=object)
    found = hashed(values)
    assert found[0] == found[3] and len(set(found.tolist())) == 3
    assert found[0] == hashed(np.array(["a"], dtype=object))[0]
    assert len(set(mixed(np.arange(1000, dtype=np.uint64)).tolist())) == 1000


def test_pairs_of_nodes_are_joined_by_edges_of_several_kinds(tmp_path: Path) -> None:
    record = {
        "nodes": 3,
        "edges": [[0, 1, "a"], [1, 0, "a"], [0, 1, "b"], [2, 2, "c"], [1, 2, "a"], [1, 2, "a"]],
    }
    graphs = read_graphs(written(tmp_path / "g.jsonl", [record]))
    kinds = graphs.edges.frame["kind"].to_numpy()
    both = pairs_of(graphs, kinds, directed=False).values.tolist()
    assert both == [[0, 1, "a & b"], [1, 0, "a & b"], [1, 2, "a"], [2, 1, "a"], [2, 2, "c"]]
    told = {(i, j): kind for i, j, kind in pairs_of(graphs, kinds, directed=True).values.tolist()}
    assert told[0, 1] == "in a & out a & out b" and told[1, 0] == "in a & in b & out a"
    assert told[1, 2] == "out a" and told[2, 1] == "in a"


def test_each_graph_has_a_matrix() -> None:
    pairs = pd.DataFrame({"from": [0, 1, 3, 4], "to": [1, 0, 4, 3]})
    values, starts, sizes = np.array([1, 2, 3, 4]), np.array([0, 2, 3]), np.array([2, 1, 2])
    found = [matrix.tolist() for matrix in matrices(pairs, values, starts, sizes)]
    assert found == [[[0, 1], [2, 0]], [[0]], [[0, 3], [4, 0]]]
    turned = [matrix.tolist() for matrix in matrices(pairs, values, starts, sizes, np.array([1, 0, 2, 4, 3]))]
    assert turned == [[[0, 2], [1, 0]], [[0]], [[0, 4], [3, 0]]]
