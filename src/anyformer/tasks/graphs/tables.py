"""One graph in two tables: its nodes, a row each, and its edges."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from anyformer.errors import DataError
from anyformer.spelling import option
from anyformer.tables.columns import check_column
from anyformer.tables.files import READ, check_exists, read_table
from anyformer.tables.numbercells import Convention
from anyformer.tables.packed import suffix_of
from anyformer.tables.reading import Table
from anyformer.tasks.graphs.data import Graphs, empty_table

IDS = ("id", "node", "node_id", "nodeid", "name")
ENDS = (("source", "target"), ("src", "dst"), ("from", "to"), ("node1", "node2"), ("u", "v"))
"""Names of the columns of nodes, and of the ends of edges, in any case."""


def tables_in(folder: Path) -> tuple[Path, Path] | None:
    """Return the tables ``nodes`` and ``edges`` in a folder, None if they are not there."""
    found = []
    for stem in ("nodes", "edges"):
        files = [
            file
            for file in sorted(folder.iterdir())
            if file.name.startswith(f"{stem}.") and suffix_of(file) in READ
        ]
        found += files[:1]
    return (found[0], found[1]) if len(found) == 2 else None


def edges_of(path: Path) -> Path | None:
    """Return the table of edges in the folder of a table called ``nodes``; None if there is none."""
    pair = tables_in(path.parent)
    return pair[1] if pair is not None and pair[0] == path else None


def edges_beside(path: Path, edges: str) -> Path:
    """Return the table of edges: beside the one of nodes if it is there, else from the folder of the process."""
    beside = path.parent / edges
    return beside if beside.exists() else Path(edges)


def read_node_table(
    path: Path, edges: str, id: str | None, convention: Convention, remarks: list[str]
) -> Graphs:
    """Read a graph.

    Args:
        path: the table of nodes, or a folder with the tables ``nodes`` and ``edges``.
        edges: the table of edges, beside the first one if it is not a path from here.
        id: the column that names nodes; found where not given.
        convention: the user's, on how numbers are written.
        remarks: takes what was found.

    Raises:
        DataError: a file cannot be used; one sentence names it, what is wrong and where.
    """
    if path.is_dir():
        pair = tables_in(path)
        if pair is None:
            raise DataError(
                f"{path} must hold a table of nodes and one of edges, such as nodes.csv and edges.csv"
            )
        path, edges = pair[0], str(pair[1])
    elif not edges:
        near = edges_of(path)
        if near is None:
            raise DataError(
                f"{path} is one table: give the folder that holds it beside one of edges, such as nodes.csv and "
                "edges.csv"
            )
        edges = near.name
    other = check_exists(edges_beside(path, edges))
    nodes, links = read_table(path, convention), read_table(other, convention)
    remarks += [*nodes.remarks, *(f"{other.name}: {remark}" for remark in links.remarks)]
    name = _id_column(nodes, id)
    ids = _keys(nodes, name)
    if gone := int(ids.isna().sum()):
        raise DataError(f"{path}: {gone} rows have no {name!r}, by which edges name nodes")
    if ids.duplicated().any():
        row = int(np.argmax(ids.duplicated())) + 1
        raise DataError(
            f"{path}: two nodes have the {name!r} {ids.iloc[row - 1]!r} (the second in row {row})"
        )
    ends = _end_columns(links)
    remarks.append(
        f"nodes are named by {name!r}, and edges go from {ends[0]!r} to {ends[1]!r} of {other.name}"
    )
    numbers = pd.Series(np.arange(len(ids)), index=ids.to_numpy())
    found = []
    for column in ends:
        keys = _keys(links, column)
        joined = keys.map(numbers)
        if joined.isna().any():
            row = int(np.argmax(joined.isna()))
            if pd.isna(keys.iloc[row]):
                raise DataError(f"{other}: the edge in row {row + 1} has no {column!r}")
            raise DataError(
                f"{other}: the edge in row {row + 1} joins {keys.iloc[row]!r}, which is no node of {path.name}"
            )
        found.append(joined.to_numpy(np.int64))
    return Graphs(
        path=path,
        whole=empty_table(path, 1),
        nodes=_without(nodes, name),
        edges=_without(links, *ends),
        owner=np.zeros(len(ids), np.int64),
        ends=np.stack(found, 1),
        names=[path.name],
        ids=ids.to_numpy(),
        style=nodes.style,
    ).checked()


def _keys(table: Table, name: str) -> pd.Series:
    """Return a column of ids as texts."""
    keys = table.keys(name)
    return keys.map(
        lambda value: str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
    ).where(keys.notna(), None)


def _id_column(nodes: Table, given: str | None) -> str:
    columns = list(nodes.frame.columns)
    if given is not None:
        return check_column(nodes.path, nodes.frame, given, "id")
    named = [column for name in IDS for column in columns if column.casefold() == name]
    found = named[0] if named else columns[0]
    if not named and not nodes.keys(found).is_unique:
        raise DataError(
            f"{nodes.path}: no column is called {', '.join(IDS)}, and the first, {found!r}, has values twice: "
            f"{option('id', 'NAME')} says which names the nodes"
        )
    return found


def _end_columns(links: Table) -> tuple[str, str]:
    columns = {column.casefold(): column for column in links.frame.columns}
    for pair in ENDS:
        if all(name in columns for name in pair):
            return columns[pair[0]], columns[pair[1]]
    if len(columns) < 2:
        raise DataError(
            f"{links.path} must have two columns that name nodes, such as source and target, got {list(columns)}"
        )
    first, second = list(links.frame.columns)[:2]
    return first, second


def _without(table: Table, *names: str) -> Table:
    return replace(table, frame=table.frame.drop(columns=list(names)))
