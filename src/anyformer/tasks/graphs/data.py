"""Graphs as they were read: three tables, of whole graphs, of their nodes and of their edges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from anyformer.errors import DataError
from anyformer.registry import near
from anyformer.spelling import option
from anyformer.tables.delimited import DelimitedStyle
from anyformer.tables.reading import Table

MOST_NODES = 4000
"""The most nodes of a graph: facts of all pairs of them are held in memory."""

Level = Literal["graph", "nodes", "edges"]
"""The table of a field."""


@dataclass(frozen=True)
class Graphs:
    """Graphs that were read.

    Attributes:
        path: the file.
        whole: fields of graphs, a row each.
        nodes: fields of the nodes of all graphs, in order of the graphs.
        edges: fields of the edges of all graphs.
        owner: ``(N,)`` int64, the graph of each node.
        ends: ``(E, 2)`` int64, the nodes that each edge leaves and enters.
        names: of the graphs: their lines in the file.
        ids: ``(N,)``, names of the nodes: their ids, or their numbers in the graph.
        directed: the file says that edges have a direction.
        remarks: on how the file was read.
        style: the format of the file, if it is one of delimited text.
    """

    path: Path
    whole: Table
    nodes: Table
    edges: Table
    owner: np.ndarray
    ends: np.ndarray
    names: list[str]
    ids: np.ndarray
    directed: bool = False
    remarks: list[str] = field(default_factory=list)
    style: DelimitedStyle = field(default_factory=DelimitedStyle)

    @property
    def sizes(self) -> np.ndarray:
        """Number of nodes of each graph."""
        return np.bincount(self.owner, minlength=len(self.names))

    @property
    def starts(self) -> np.ndarray:
        """The first node of each graph."""
        return np.append(0, np.cumsum(self.sizes)[:-1])

    def table(self, level: Level) -> Table:
        """Return the table of a level."""
        return {"graph": self.whole, "nodes": self.nodes, "edges": self.edges}[level]

    def find(self, name: str, argument: str) -> tuple[Level, str]:
        """Return the level and the column of a field that an option names: ``label``, or ``nodes.label``.

        Raises:
            DataError: there is none, or it is a field of several levels; for ``target`` the graph comes first.
        """
        levels: tuple[Level, ...] = ("graph", "nodes", "edges")
        columns: dict[Level, list[str]] = {level: list(self.table(level).frame.columns) for level in levels}
        found: list[tuple[Level, str]] = [(level, name) for level in levels if name in columns[level]]
        start, dot, rest = name.partition(".")
        found += [(level, rest) for level in levels if level == start and dot and rest in columns[level]]
        if argument == "target":
            found = [one for one in found if one[0] != "edges"][:1]
        if len(found) == 1:
            return found[0]
        if found:
            spelled = " or ".join(f"{level}.{column}" for level, column in found)
            raise DataError(
                f"{option(argument)}: {name!r} is a field of several kinds in {self.path}: write {spelled}"
            )
        known = [f"{level}.{column}".removeprefix("graph.") for level in levels for column in columns[level]]
        listed = near(name, known) or f"; fields are {', '.join(map(repr, known[:20]))}"
        raise DataError(f"{option(argument)}: {self.path} has no field {name!r}{listed}")

    def checked(self) -> Graphs:
        """Return the graphs.

        Raises:
            DataError: a graph has no nodes or too many, or there are no edges at all.
        """
        sizes = self.sizes
        for number in np.flatnonzero(sizes == 0)[:1]:
            raise DataError(f"{self.path}: {self.names[number]}: the graph has no nodes")
        if sizes.max() > MOST_NODES:
            number = int(sizes.argmax())
            raise DataError(
                f"{self.path}: {self.names[number]}: a graph may have up to {MOST_NODES:,} nodes, got "
                f"{sizes[number]:,}: it is read whole, with facts of all pairs of nodes; give parts of it as graphs"
            )
        if not len(self.ends):
            raise DataError(f"{self.path}: no graph has an edge; fields of nodes alone are rows of a table")
        return self

    def take(self, graphs: np.ndarray) -> Graphs:
        """Return some of the graphs ``(G,)``, ascending."""
        nodes = np.flatnonzero(np.isin(self.owner, graphs))
        edges = (
            np.flatnonzero(np.isin(self.owner[self.ends[:, 0]], graphs)) if len(self.ends) else np.arange(0)
        )
        return replace(
            self,
            whole=_rows(self.whole, graphs),
            nodes=_rows(self.nodes, nodes),
            edges=_rows(self.edges, edges),
            owner=np.searchsorted(graphs, self.owner[nodes]),
            ends=np.searchsorted(nodes, self.ends[edges]),
            names=[self.names[graph] for graph in graphs],
            ids=self.ids[nodes],
        )

    def joined(self) -> Graphs:
        """Return all graphs as one, whose parts are not connected."""
        names = [f"{self.names[graph]}, {node}" for graph, node in zip(self.owner, self.ids)]
        return replace(
            self,
            whole=_rows(self.whole, np.arange(1)),
            owner=np.zeros_like(self.owner),
            names=[self.path.name],
            ids=np.array(names, dtype=object),
        )


def _rows(table: Table, rows: np.ndarray) -> Table:
    return replace(table, frame=table.frame.iloc[rows])


def empty_table(path: Path, rows: int) -> Table:
    """Return a table of so many rows without a column."""
    return Table(path, pd.DataFrame(index=pd.RangeIndex(rows)))


def shown(values: Sequence[object], most: int = 3) -> str:
    """Return the first values, for messages."""
    return ", ".join(map(repr, values[:most])) + (", ..." if len(values) > most else "")
