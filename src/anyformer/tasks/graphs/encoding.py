"""The encoding of graphs as a model's inputs, fitted on the train split, and of its outputs as answers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from anyformer.errors import DataError
from anyformer.schema import NUMBERS, Field, StreamFacts
from anyformer.spelling import option
from anyformer.tasks.batch import Batch
from anyformer.tasks.categories import Category, describe_categories
from anyformer.tasks.encoding import DataLayout, Standard
from anyformer.tasks.graphs.data import Graphs, Level
from anyformer.tasks.graphs.fields import MOST_KINDS, Described, GraphFields, describe
from anyformer.tasks.graphs.jsonl import read_graphs
from anyformer.tasks.graphs.structure import matrices, relations
from anyformer.tasks.graphs.tables import read_node_table
from anyformer.tasks.labelled_encoding import LabelledEncoding
from anyformer.tasks.new_data import Unseen

Units = tuple[Tensor | None, Tensor | None]
"""Shift and scale of targets that are numbers."""
MOST_PAIRS = 2**22
"""The most pairs of nodes in an evaluated batch of several graphs."""


class GraphInputs(BaseModel):
    """The encoding of the nodes and edges of graphs as a model's inputs.

    Attributes:
        fields: that are inputs.
        standard: encodes the numbers of nodes.
        categories: of nodes, by the names of texts in :class:`anyformer.tasks.graphs.fields.Described`.
        kinds: of pairs of nodes that edges join.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    fields: GraphFields
    standard: Standard
    categories: list[Category]
    kinds: Category

    @classmethod
    def fit(
        cls, fields: GraphFields, described: Described, train: np.ndarray, remarks: list[str]
    ) -> GraphInputs:
        """Fit on the nodes ``(N,)`` where ``train`` is True.

        Raises:
            DataError: a category has no value twice.
        """
        numbers = described.numbers[train]
        standard = Standard.fit(numbers[None], None, by_place=False, marks=bool(np.isnan(numbers).any()))
        categories = [Category.fit(name, texts[train]) for name, texts in described.texts.items()]
        for category in categories:
            if not category.values:
                raise DataError(
                    f"no value of the field {category.name!r} of nodes is there twice in the training graphs, so that "
                    f"nothing can be learnt of one; {option('drop', category.name)} leaves it out"
                )
        describe_categories(categories, described.texts, remarks)
        own = described.pairs["kind"].to_numpy()
        kinds = Category.fit("edges", own[train[described.pairs["from"].to_numpy()]])
        kinds = kinds.model_copy(update={"values": kinds.values[:MOST_KINDS]})
        if fields.edge_kinds:
            rest = kinds.unknown(own)
            more = f"; {len(rest)} rarer ones are read as one" if rest else ""
            remarks.append(
                f"edges are of {len(kinds.values)} kinds ({', '.join(map(repr, kinds.values))}){more}"
            )
        return cls(fields=fields, standard=standard, categories=categories, kinds=kinds)

    @property
    def numbers_name(self) -> str:
        """The field of a node's numbers, side by side: no category is called so."""
        name = NUMBERS
        while name in {category.name for category in self.categories}:
            name = f"({name})"
        return name

    @property
    def stream(self) -> StreamFacts:
        """The fields of a node."""
        width = len(self.standard.mean[0]) * (1 + self.standard.marks)
        fields = [Field(name=self.numbers_name, width=width)]
        fields += [Field(name=category.name, size=category.size) for category in self.categories]
        return StreamFacts(shape="set", fields=fields)

    def encode(self, graphs: Graphs, described: Described) -> EncodedGraphs:
        """Return the graphs as a model's inputs, the nodes of each in their order."""
        numbers = self.standard.encode(described.numbers[None])[0].astype(np.float32)
        values = {self.numbers_name: numbers[described.order]}
        for category in self.categories:
            values[category.name] = category.encode(described.texts[category.name])[described.order]
        place = np.empty(len(described.order), np.int64)
        place[described.order] = np.arange(len(place))
        kinds = (1 + self.kinds.encode(described.pairs["kind"].to_numpy())).astype(np.int8)
        joined = matrices(described.pairs, kinds, graphs.starts, graphs.sizes, place)
        edges = [relations(matrix) for matrix in joined]
        return EncodedGraphs(values, edges, graphs.sizes, place)


@dataclass(frozen=True)
class EncodedGraphs:
    """Graphs as a model's inputs.

    Attributes:
        values: by field ``(N, ...)``, nodes graph by graph.
        edges: of each graph ``(n, n)`` int8, see :mod:`anyformer.layers.edges`.
        sizes: nodes of each graph.
        place: ``(N,)``, the row in ``values`` of each node as it was read.
    """

    values: dict[str, np.ndarray]
    edges: list[np.ndarray]
    sizes: np.ndarray
    place: np.ndarray

    @property
    def starts(self) -> np.ndarray:
        """The first row in ``values`` of each graph."""
        return np.append(0, np.cumsum(self.sizes)[:-1])

    def batch(
        self, graphs: np.ndarray, targets: Tensor, units: Units = (None, None), at: Tensor | None = None
    ) -> Batch:
        """Return a batch of these graphs ``(B,)``, padded to the largest."""
        sizes, starts, width = self.sizes[graphs], self.starts[graphs], int(self.sizes[graphs].max())
        inputs: dict[str, Tensor] = {}
        for name, values in self.values.items():
            padded = np.zeros((len(graphs), width, *values.shape[1:]), values.dtype)
            for row, (start, size) in enumerate(zip(starts, sizes)):
                padded[row, :size] = values[start : start + size]
            inputs[name] = torch.from_numpy(padded)
        edges = np.zeros((len(graphs), width, width), np.int8)
        for row, (graph, size) in enumerate(zip(graphs, sizes)):
            edges[row, :size, :size] = self.edges[graph]
        mask = None if (sizes == width).all() else torch.from_numpy(np.arange(width) < sizes[:, None])
        return Batch(inputs, targets, mask, *units, elements=at, side={"edges": torch.from_numpy(edges)})

    def parts(self, graphs: np.ndarray) -> Iterator[np.ndarray]:
        """Yield consecutive ones of these graphs, as many as fit into a batch."""
        first, width = 0, 0
        for last, size in enumerate(self.sizes[graphs].tolist()):
            width = max(width, size)
            if last > first and (last - first + 1) * width**2 > MOST_PAIRS:
                yield graphs[first:last]
                first, width = last, size
        if len(graphs):
            yield graphs[first:]


class GraphEncoding(LabelledEncoding):
    """The encoding of graphs, and of answers about them or about their nodes.

    Attributes:
        inputs: of nodes and edges.
        level: what answers are about.
        joined: all graphs of a file are one.
        layout: of a table of nodes; None for JSON.
        id: the column of the nodes' names in a table.
        edges: the name of the file with the edges of a table of nodes.
    """

    kind: Literal["graphs"] = "graphs"
    inputs: GraphInputs
    level: Level
    joined: bool = False
    layout: DataLayout | None = None
    id: str | None = None
    edges: str | None = None

    def read(self, path: Path) -> Unseen:
        """Return the graphs in a file; their nodes, if the answers are about nodes.

        Of nodes, those without a target are asked about; all, if none has one, or all have.

        Raises:
            DataError: the file cannot be used.
        """
        remarks = list[str]()
        if self.layout is None:
            graphs = read_graphs(path)
        else:
            assert self.edges is not None
            graphs = read_node_table(path, self.edges, self.id, self.layout.convention, remarks)
        graphs = graphs.joined() if self.joined else graphs
        remarks += graphs.remarks
        described = describe(graphs, self.inputs.fields)
        for category in self.inputs.categories:
            if unknown := category.unknown(described.texts[category.name]):
                shown = ", ".join(map(repr, unknown[:3])) + (", ..." if len(unknown) > 3 else "")
                remarks.append(
                    f"{category.name!r}: values that training showed at most once are read as one ({shown})"
                )
        if unknown := self.inputs.kinds.unknown(described.pairs["kind"].to_numpy()):
            remarks.append(
                f"kinds of edges that training showed at most once are read as one ({unknown[0]!r}, ...)"
            )
        encoded = self.inputs.encode(graphs, described)
        if self.level == "graph":
            names = _names(graphs)
            return UnseenGraphs(
                self.unknown(encoded, np.arange(1)), names, remarks, graphs.style, self, encoded
            )
        nodes = self._asked(graphs, remarks)
        names = pd.DataFrame({"node": graphs.ids[nodes]})
        if len(graphs.names) > 1:
            names.insert(0, "graph", _names(graphs).iloc[graphs.owner[nodes], 0].to_numpy())
        first = self.unknown(encoded, np.arange(1), encoded.place[nodes[:1]], graphs.owner[nodes[:1]])
        return UnseenGraphs(first, names, remarks, graphs.style, self, encoded, nodes, graphs.owner[nodes])

    def _asked(self, graphs: Graphs, remarks: list[str]) -> np.ndarray:
        """Return the nodes that answers are about."""
        known = [graphs.nodes.keys(name).notna() for name in self.targets if name in graphs.nodes.frame]
        lacks = (
            ~np.logical_and.reduce(known)
            if len(known) == len(self.targets)
            else np.ones(len(graphs.owner), bool)
        )
        if lacks.any() and not lacks.all():
            remarks.append(
                f"answers are about the {lacks.sum()} of {len(lacks)} nodes without {self.targets[0]!r}"
            )
            return np.flatnonzero(lacks)
        return np.arange(len(graphs.owner))

    def unknown(
        self,
        encoded: EncodedGraphs,
        graphs: np.ndarray,
        rows: np.ndarray | None = None,
        owner: np.ndarray | None = None,
    ) -> Batch:
        """Return a batch of graphs with unknown targets, of the nodes in these rows of ``values`` if they are given."""
        at, count = None, len(graphs)
        if rows is not None and owner is not None:
            at, count = places(encoded, graphs, rows, owner), len(rows)
        targets, shift, scale = self.unknown_targets(count)
        return encoded.batch(graphs, targets, (shift, scale), at)


def _names(graphs: Graphs) -> pd.DataFrame:
    """Return a name for each graph: its field ``id`` or ``name``, or else its line."""
    for column in ("id", "name"):
        if column in graphs.whole.frame and graphs.whole.keys(column).is_unique:
            return pd.DataFrame({column: graphs.whole.keys(column).to_numpy()})
    return pd.DataFrame({"line": [int(name.removeprefix("line ")) for name in graphs.names]})


def places(encoded: EncodedGraphs, graphs: np.ndarray, rows: np.ndarray, owner: np.ndarray) -> Tensor:
    """Return where nodes are in a batch of these graphs, ascending: ``(N, 2)`` int64, the sample and the element."""
    samples = np.searchsorted(graphs, owner)
    return torch.from_numpy(np.stack([samples, rows - encoded.starts[owner]], 1))


@dataclass(frozen=True)
class UnseenGraphs(Unseen):
    """Graphs with unknown targets, of which batches are made when they are needed.

    ``batch`` is the first of them. ``nodes`` are those that answers are about, if not about graphs, and ``owner`` the
    graphs that they are of.
    """

    encoding: GraphEncoding | None = None
    encoded: EncodedGraphs | None = None
    nodes: np.ndarray | None = None
    owner: np.ndarray | None = None

    def parts(self, batch_size: int) -> Iterator[Batch]:
        """Yield batches of all graphs, or of those with such nodes."""
        assert self.encoding is not None and self.encoded is not None
        encoded, owner = self.encoded, self.owner
        for graphs in encoded.parts(np.arange(len(encoded.sizes)) if owner is None else np.unique(owner)):
            if owner is None or self.nodes is None:
                yield self.encoding.unknown(encoded, graphs)
            else:
                here = np.isin(owner, graphs)
                yield self.encoding.unknown(encoded, graphs, encoded.place[self.nodes[here]], owner[here])
