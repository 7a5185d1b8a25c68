"""Files of graphs whose answers are known."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np


def written(path: Path, records: Iterable[Any]) -> Path:
    """Write records as JSON, one on each line."""
    path.write_text("\n".join(json.dumps(record) for record in records) + "\n", encoding="utf-8")
    return path


def shuffled(graph: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
    """Return a graph with its nodes in another order."""
    count = len(graph["nodes"])
    order = rng.permutation(count)
    place = np.argsort(order)
    edges = [[int(place[i]), int(place[j]), *kind] for i, j, *kind in graph["edges"]]
    rng.shuffle(edges)
    return {**graph, "nodes": [graph["nodes"][i] for i in order], "edges": edges}


def rings_and_paths(count: int = 120, seed: int = 0) -> list[dict[str, Any]]:
    """Rings and paths of 5 to 9 nodes with colours that tell nothing."""
    rng, found = np.random.default_rng(seed), []
    for number in range(count):
        nodes, ring = int(rng.integers(5, 10)), bool(number % 2)
        edges = [[i, i + 1] for i in range(nodes - 1)] + [[nodes - 1, 0]] * ring
        colours = [{"colour": str(rng.choice(["red", "green", "blue"]))} for _ in range(nodes)]
        graph = {"nodes": colours, "edges": edges, "label": "ring" if ring else "path"}
        found.append(shuffled(graph, rng))
    return found


def surrounded(count: int = 200, seed: int = 0) -> dict[str, Any]:
    """One graph of nodes in two colours, each labelled with the colour that most of its neighbours have."""
    rng = np.random.default_rng(seed)
    colours = rng.choice(["red", "blue"], count)
    pairs = {(i, int(j)) for i in range(count) for j in rng.choice(count, 3, replace=False) if i < j}
    pairs |= {(i, i + 1) for i in range(count - 1)}
    reds = np.zeros(count)
    for i, j in pairs:
        for one, other in ((i, j), (j, i)):
            reds[one] += 1 if colours[other] == "red" else -1
    nodes = [
        {"colour": str(colour), **({"label": "mostly red" if red > 0 else "mostly blue"} if red else {})}
        for colour, red in zip(colours, reds)
    ]
    return {"nodes": nodes, "edges": [list(pair) for pair in sorted(pairs)]}
