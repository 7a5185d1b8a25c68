"""One graph in two tables: nodes with fields and targets, and edges."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from anyformer.spelling import option
from anyformer.tables.files import READ
from anyformer.tables.numbercells import Convention
from anyformer.tables.packed import suffix_of
from anyformer.tasks.base import Task, check_integer
from anyformer.tasks.choices import check_kind
from anyformer.tasks.encoding import DataLayout
from anyformer.tasks.graphs.tables import edges_beside, read_node_table, tables_in
from anyformer.tasks.graphs.task import open_graphs
from anyformer.tasks.readers import register_reader
from anyformer.tasks.readers._base import Reader
from anyformer.tasks.readers.graphs import KINDS


@register_reader("node_tables")
class NodeTables(Reader):
    """A table of nodes beside one of edges: a class or numbers for each node."""

    title = "tables of nodes beside one of edges"
    rank = -2  # before text: tables are of rows, unless their edges are named
    claims = files = ("edges",)

    @classmethod
    def takes(cls, path: Path) -> bool:
        """True for tables, and for folders with ``nodes`` and ``edges``."""
        return tables_in(path) is not None if path.is_dir() else suffix_of(path) in READ

    @classmethod
    def absolute(cls, path: Path, file: str) -> str:
        """Return the absolute path of the table of edges, beside the data if it is there."""
        return os.path.abspath(edges_beside(path, file))

    @staticmethod
    def open(
        path: Path,
        target: str | Sequence[str] | None = None,
        *,
        edges: str | None = None,
        id: str | None = None,
        kind: Literal["classify", "regress"] | None = None,
        category: str | Sequence[str] | None = None,
        drop: str | Sequence[str] | None = None,
        keep: str | Sequence[str] | None = None,
        split: str | None = None,
        directed: bool | None = None,
        walks: int = 8,
        class_weights: Literal["balanced"] | None = None,
        decimal: str | None = None,
        thousands: str | None = None,
        missing: str | Sequence[str] | None = None,
        seed: int = 0,
    ) -> Task:
        """Return the task of the nodes.

        Args:
            path: the table of nodes, or a folder with the tables ``nodes`` and ``edges``.
            target: the column of nodes to predict; nodes without a value are asked about in predictions.
            edges: the table of edges, whose columns ``source`` and ``target``, or the first two, name nodes.
            id: the column that names nodes; ``id``, or the first, where not given.
            kind: ``"classify"`` or ``"regress"``; chosen from the data where not given.
            category: columns to read as categories; ``nodes.x`` and ``edges.x`` tell columns of the same name apart.
            drop: columns to leave out.
            keep: columns of numbers that are inputs although they look like ids.
            split: the column that says of each node whether it is train, valid or test.
            directed: whether edges have a direction; they have none where not given.
            walks: steps of the longest random walk whose probability to return is an input of nodes; 0 for none.
            class_weights: "balanced" weighs the loss of each class by the inverse of its frequency in training.
            decimal: the decimal mark of numbers, "." or ","; found where not given.
            thousands: the thousands separator, one of ``, . '`` and a blank, or "" for none; found where not given.
            missing: texts that stand for a missing value, instead of NA, null, None and the like; "" for empty cells
                only.
            seed: fixes the split and the order of training.
        """
        check_kind(kind, KINDS)
        check_integer("walks", walks, low=0, high=64)
        if edges is None and not path.is_dir():
            raise ValueError(f"{option('edges')} must name the table of edges")
        marks = None
        if missing is not None:
            marks = frozenset([missing] if isinstance(missing, str) else map(str, missing))
        convention, remarks = Convention(decimal, thousands, marks), list[str]()
        graphs = read_node_table(path, edges or "", id, convention, remarks)
        graphs.remarks.extend(remarks)
        layout = DataLayout(
            kind="columns",
            decimal=decimal,
            thousands=thousands,
            missing=None if marks is None else sorted(marks),
            likely=graphs.nodes.decimal,
        )
        return open_graphs(
            graphs,
            target=target,
            kind=kind,
            category=category,
            drop=drop,
            keep=keep,
            split=split,
            directed=directed,
            walks=walks,
            class_weights=class_weights,
            seed=seed,
            layout=layout,
            files={"id": id, "edges": _as_beside(path, edges or "")},
        )


def _as_beside(path: Path, edges: str) -> str:
    """Return the name of the table of edges if it lies beside the one of nodes, as new ones will; else the path."""
    return (
        Path(edges).name if os.path.abspath(path.parent) == os.path.dirname(os.path.abspath(edges)) else edges
    )
