"""Graphs in JSON: one on each line, or one in a file.

=================  ========================================================================================
``nodes``          a list of objects with fields; of texts or numbers, one field called ``node``; of texts by
                   which edges name them; or an object from names to fields; or their number
``node_feat``      instead, a list of lists of numbers, or of numbers; ``num_nodes`` their number
``edges``          a list of ``[i, j]``, ``[i, j, kind]`` or ``{"source": i, "target": j, ...}``; also ``links``
``edge_index``     instead, two lists ``[[i, ...], [j, ...]]``, with ``edge_attr`` a value or a list for each
``directed``       true if edges have a direction
anything else      a field of the graph
=================  ========================================================================================

Edges name nodes by their numbers from 0, or by the field ``id`` if nodes have one, or by their names.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from numbers import Number
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from anyformer.errors import DataError
from anyformer.tables.delimited import decode
from anyformer.tables.numbercells import Convention
from anyformer.tables.objects import read_json, read_objects
from anyformer.tables.packed import content, suffix_of
from anyformer.tables.reading import Table, from_objects
from anyformer.tasks.graphs.data import Graphs, shown

NODES = ("nodes", "node_feat", "num_nodes")
EDGES = ("edges", "links", "edge_index")
ENDS = (("source", "target"), ("from", "to"))
_OWN = {*NODES, *EDGES, "edge_attr", "directed", "multigraph"}
_EXAMPLE = '{"nodes": [...], "edges": [[0, 1], ...]}'


def is_graph(record: object) -> bool:
    """True if a JSON object is a graph: it has nodes and edges under one of their names."""
    return isinstance(record, dict) and any(k in record for k in NODES) and any(k in record for k in EDGES)


def read_graphs(path: Path) -> Graphs:
    """Read the graphs of a file.

    Raises:
        DataError: it holds none, or one is wrong; the message names the line.
    """
    if suffix_of(path) == ".json":
        records = [(0, read_json(decode(path, content(path)), str(path)))]
    else:
        records = list[tuple[int, Any]](read_objects(path, _EXAMPLE))
    parts = [_Part.of(record, f"{path}: line {line}" if line else str(path)) for line, record in records]
    sizes = np.array([part.count for part in parts])
    starts = np.append(0, np.cumsum(sizes)[:-1])
    ends = [np.array(part.ends, np.int64).reshape(-1, 2) + start for part, start in zip(parts, starts)]
    lines = [f"line {line}" if line else path.name for line, _ in records]
    directions = {part.directed for part in parts if part.directed is not None}
    if len(directions) > 1:
        raise DataError(f"{path}: 'directed' is true in some graphs and false in others")
    return Graphs(
        path=path,
        whole=_table(path, [part.facts for part in parts], [part.what for part in parts], "the graph"),
        nodes=_table(path, [n for part in parts for n in part.nodes], _repeated(parts, "nodes"), "nodes"),
        edges=_table(path, [e for part in parts for e in part.edges], _repeated(parts, "edges"), "edges"),
        owner=np.repeat(np.arange(len(parts)), sizes),
        ends=np.concatenate(ends),
        names=lines,
        ids=np.array([one for part in parts for one in part.ids], dtype=object),
        directed=directions == {True},
    ).checked()


@dataclass
class _Part:
    """One graph: the fields of its nodes and edges, each an object, and of itself."""

    what: str
    count: int
    ids: list[Any]
    nodes: list[dict[str, Any]]
    ends: list[tuple[int, int]] = field(default_factory=list)
    edges: list[dict[str, Any]] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    directed: bool | None = None

    @classmethod
    def of(cls, record: Any, what: str) -> _Part:
        if not is_graph(record):
            got = f"the fields {shown(list(record))}" if isinstance(record, dict) else type(record).__name__
            raise DataError(f"{what} must be a graph like {_EXAMPLE}, got {got}")
        named, nodes = _nodes_of(record, what)
        edges = list(_edges_of(record, what))
        texts = [node.get("node") for node in nodes]
        by_name = bool(edges) and all(isinstance(end, str) for end in edges[0][0])
        if named is None and by_name and texts and all(isinstance(text, str) for text in texts):
            named, nodes = texts, [{} for _ in nodes]
        numbers = _numbers_by_id(named, nodes, what)
        names: list[Any] = list(numbers) if numbers else list(range(len(nodes)))
        facts = {name: value for name, value in record.items() if name not in _OWN}
        inner = facts.pop("graph", None)  # of networkx
        facts |= inner if isinstance(inner, dict) else {} if inner is None else {"graph": inner}
        part = cls(
            what, len(nodes), names, nodes, facts={name: _single(value) for name, value in facts.items()}
        )
        directed = record.get("directed")
        if directed is not None and not isinstance(directed, bool):
            raise DataError(f"{what}: 'directed' must be true or false, got {directed!r}")
        part.directed = directed
        for number, (ends, fields) in enumerate(edges, 1):
            part.ends.append(_resolved(ends, numbers, part.count, f"{what}: edge {number}"))
            part.edges.append(fields)
        return part


def _nodes_of(record: Mapping[str, Any], what: str) -> tuple[list[Any] | None, list[dict[str, Any]]]:
    """Return the names of nodes, if they are keys of an object, and the fields of each."""
    key = next(name for name in NODES if record.get(name) is not None or name == NODES[-1])
    given, count = record.get(key), record.get("num_nodes")
    names = None
    if isinstance(given, dict):
        names, given = list(given), list(given.values())
    elif isinstance(given, int) and not isinstance(given, bool) and given >= 0:
        given = [{} for _ in range(given)]
    if not isinstance(given, list):
        raise DataError(f"{what}: {key!r} must be a list of nodes, or their number, got {str(given)[:40]!r}")
    if count is not None and (isinstance(count, bool) or count != len(given)):
        raise DataError(f"{what}: 'num_nodes' is {count}, and {key!r} has {len(given)} nodes")
    field_name = "node" if key == "nodes" else key
    return names, [dict(node) if isinstance(node, dict) else {field_name: node} for node in given]


def _numbers_by_id(names: list[Any] | None, nodes: list[dict[str, Any]], what: str) -> dict[str, int]:
    """Return the number of each node by its id or name, as text; empty if they have none. Ids are taken from fields."""
    having = sum("id" in node for node in nodes)
    if names is None and not having:
        return {}
    if names is None:
        if having < len(nodes):
            without = next(number for number, node in enumerate(nodes) if "id" not in node)
            raise DataError(
                f"{what}: node {without} (counted from 0) has no 'id', which {having} others have"
            )
        names = [node.pop("id") for node in nodes]
    found: dict[str, int] = {}
    for number, name in enumerate(names):
        if isinstance(name, bool) or not isinstance(name, str | int):
            raise DataError(f"{what}: the id of node {number} must be a text or a whole number, got {name!r}")
        if found.setdefault(str(name), number) != number:
            raise DataError(f"{what}: two nodes have the id {name!r}")
    return found


def _edges_of(record: Mapping[str, Any], what: str) -> Iterable[tuple[tuple[Any, Any], dict[str, Any]]]:
    """Yield the ends and the fields of each edge."""
    key = next(name for name in EDGES if name in record)
    given = record[key]
    if key == "edge_index":
        if not isinstance(given, list) or len(given) != 2 or len({len(side) for side in given}) != 1:
            raise DataError(
                f"{what}: 'edge_index' must be two lists of as many nodes, got {str(given)[:40]!r}"
            )
        given = list(zip(*given))
    if not isinstance(given, list):
        raise DataError(f"{what}: {key!r} must be a list of edges, got {str(given)[:40]!r}")
    marks = record.get("edge_attr")
    if marks is not None and (not isinstance(marks, list) or len(marks) != len(given)):
        raise DataError(
            f"{what}: 'edge_attr' must be a list with an entry for each of the {len(given)} edges"
        )
    for number, edge in enumerate(given):
        more = {} if marks is None else {"edge_attr": marks[number]}
        if isinstance(edge, dict):
            pair = next((pair for pair in ENDS if all(end in edge for end in pair)), None)
            if pair is None:
                raise DataError(
                    f"{what}: edge {number + 1} must have 'source' and 'target', got {shown(list(edge))}"
                )
            yield (edge[pair[0]], edge[pair[1]]), {k: v for k, v in edge.items() if k not in pair} | more
        elif isinstance(edge, list | tuple) and len(edge) in (2, 3):
            kind = edge[2] if len(edge) == 3 else {}
            yield (edge[0], edge[1]), (kind if isinstance(kind, dict) else {"kind": kind}) | more
        else:
            raise DataError(
                f"{what}: edge {number + 1} must be [source, target], [source, target, kind] or an object, got {edge!r}"
            )


def _resolved(ends: tuple[Any, Any], numbers: Mapping[str, int], count: int, what: str) -> tuple[int, int]:
    """Return the numbers of the nodes that an edge joins."""
    found = []
    for end in ends:
        whole = isinstance(end, int) and not isinstance(end, bool)
        if numbers and (whole or isinstance(end, str)):
            if str(end) not in numbers:
                raise DataError(f"{what} joins {end!r}, which is the id of no node")
            found.append(numbers[str(end)])
        elif whole and not numbers:
            if not 0 <= end < count:
                raise DataError(f"{what} joins node {end}, and the graph has {count} nodes, counted from 0")
            found.append(end)
        else:
            known = "their ids" if numbers else "their numbers from 0, as they have no 'id'"
            raise DataError(f"{what} must name nodes by {known}, got {end!r}")
    return found[0], found[1]


def _repeated(parts: list[_Part], what: str) -> list[str]:
    """Return for each node or edge the words that begin a message about it."""
    return [part.what for part in parts for _ in (part.nodes if what == "nodes" else part.edges)]


def _single(value: Any) -> Any:
    """Return the value in a list of one, or in lists of one in each other."""
    while isinstance(value, list) and len(value) == 1:
        value = value[0]
    return value


def _table(path: Path, records: list[dict[str, Any]], whats: list[str], of: str) -> Table:
    """Return objects as rows, lists of as many numbers being columns of their own; texts and numbers do not mix."""
    names = dict.fromkeys(str(name) for record in records for name in record)
    columns: dict[str, list[Any]] = {}
    for name in names:
        values = [_single(record.get(name)) for record in records]
        widths = {len(value) if isinstance(value, list) else -1 for value in values if value is not None}
        if len(widths) == 1 and (width := widths.pop()) > 0:
            filled = [value or [None] * width for value in values]
            columns |= {f"{name}[{place}]": [value[place] for value in filled] for place in range(width)}
        else:
            columns[name] = values
    for name, values in columns.items():
        _check_type(name, values, whats, of)
    frame = pd.DataFrame(
        {name: pd.Series(values, dtype=object) for name, values in columns.items()},
        index=pd.RangeIndex(len(records)),
    )
    return from_objects(path, frame, Convention())


def _check_type(name: str, values: list[Any], whats: list[str], of: str) -> None:
    """Raise ``DataError`` if a field holds texts as well as numbers."""
    texts = (number for number, value in enumerate(values) if isinstance(value, str))
    first = next(texts, None)
    if first is None:
        return
    numbers = (
        n for n, value in enumerate(values) if isinstance(value, Number) and not isinstance(value, bool)
    )
    other = next(numbers, None)
    if other is not None:
        raise DataError(
            f"{whats[max(first, other)]}: the field {name!r} of {of} must hold numbers or texts, got "
            f"{values[max(first, other)]!r} after {values[min(first, other)]!r}"
        )
