"""Tasks of graphs: a class or numbers for each graph, or for each node."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from scipy import sparse
from scipy.sparse.csgraph import reverse_cuthill_mckee
from torch import Tensor

from anyformer.errors import DataError
from anyformer.spelling import option
from anyformer.tasks.base import Reference, Split
from anyformer.tasks.batch import Batch
from anyformer.tasks.encoding import DataLayout
from anyformer.tasks.graphs.data import Graphs, Level
from anyformer.tasks.graphs.encoding import EncodedGraphs, GraphEncoding, GraphInputs, Units, places
from anyformer.tasks.graphs.fields import GraphFields, Wishes, choose_fields, describe, note_edges
from anyformer.tasks.graphs.references import references_of_graphs, references_of_nodes
from anyformer.tasks.labelled import FEWEST, LabelledTask
from anyformer.tasks.row_targets import has_target, targets_of
from anyformer.tasks.splits import WORDS, split_alike, split_as_given
from anyformer.tasks.subsets import neighbours

LABELS = ("label", "target", "class", "y")
MOST_HELD = 2**26
"""The most pairs of nodes in a batch that stands for a split."""
BLOCKS = 50
"""The most clusters of nodes in one graph."""


class GraphTask(LabelledTask):
    """A class, or numbers, for each graph.

    Graphs that are equal but for the order of their nodes go into the same split, and are one cluster; the split is
    stratified by class. Nodes are the elements of a set; batches have their edges as the side input ``edges``.

    Args:
        graphs: with a target each.
        y: ``(G,)`` integers below ``len(classes)``, or ``(G, M)`` floats when ``classes`` is None.
        fields: that are inputs.
        values: names of the targets.
        classes: names of the classes.
        split: ``(G,)`` names of the splits that the user put the graphs into.
        balanced: weigh the loss of each class by the inverse of its frequency in training.
        name, seed: of the task.
        remarks: from the reader.
    """

    noun: str = "graph"
    level: ClassVar[Level] = "graph"
    direction: Literal["forward", "both"] = "both"
    candidates = ("gps", "gin", "graphormer", "transformer")
    why = (
        "gin passes messages along edges alone, graphormer lets all nodes attend to each other by their distance, and "
        "gps does both; a transformer sees the nodes without edges, to tell whether these matter"
    )
    side = ("edges",)

    def __init__(
        self,
        graphs: Graphs,
        y: np.ndarray,
        *,
        fields: GraphFields,
        values: Sequence[str],
        classes: Sequence[str] | None,
        split: np.ndarray | None,
        balanced: bool,
        name: str,
        seed: int,
        remarks: list[str],
        layout: DataLayout | None = None,
        files: dict[str, Any] | None = None,
    ) -> None:
        facts = {"graphs": len(graphs.names), "nodes": len(graphs.owner), "edges": len(graphs.ends)}
        lost = self._begin(name, seed, len(y), classes, values, balanced, facts, remarks)
        self._layout, self._files = layout, files or {}
        described = describe(graphs, fields)
        note_edges(graphs, described, fields, self._remarks)
        self._graphs, self._keys = graphs, described.keys
        self._index = self._splits(y, split, lost)
        self._input = GraphInputs.fit(fields, described, self._trained(), self._remarks)
        self._encoded: EncodedGraphs = self._input.encode(graphs, described)
        self.stream = self._input.stream
        self.train_length = int(graphs.sizes.max())
        self._set_targets(y)
        self._remarks.append(
            "each node also has the logarithms of its number of edges and of its graph's number of nodes, and the "
            f"probabilities that random walks of 2 to {fields.walks} steps return to it ({option('walks')}); mixers "
            "that read a sequence get the nodes by number of edges"
        )

    def _splits(self, y: np.ndarray, split: np.ndarray | None, lost: str) -> dict[Split, np.ndarray]:
        """Return the samples of each split."""
        return self._split([self._keys], y if self.classes is not None else None, split, lost)

    def _split(
        self, parts: list[np.ndarray], labels: np.ndarray | None, split: np.ndarray | None, lost: str
    ) -> dict[Split, np.ndarray]:
        if split is not None:
            return split_as_given(split, parts, None, labels, self.seed, self.name, self._remarks)
        return split_alike(parts, None, labels, self.seed, self.name, lost)

    def _trained(self) -> np.ndarray:
        """True at the nodes that inputs are fitted on, ``(N,)``."""
        return np.isin(self._graphs.owner, self._index["train"])

    def _take(self, split: Split, index: np.ndarray, length: int) -> Batch:
        rows = self._index[split][index]
        targets, units = self._targets(rows)
        return self._encoded.batch(rows, targets, units)

    def _targets(self, rows: np.ndarray) -> tuple[Tensor, Units]:
        """Return the targets of these samples, and shift and scale of numbers."""
        if self._scale is None:
            return torch.from_numpy(self._y[rows]), (None, None)
        shape = (len(rows), len(self._scale))
        shift, scale = (
            torch.from_numpy(numbers[None]).expand(shape) for numbers in (self._shift, self._scale)
        )
        return torch.from_numpy(self._y[rows].astype(np.float32)), (shift, scale)

    def sample(self, split: Split, limit: int) -> Batch:
        """Return samples that represent a split, as many up to ``limit`` as one batch can hold."""
        most = limit if len(self._graphs.names) == 1 else max(64, MOST_HELD // self.train_length**2)
        return super().sample(split, min(limit, most))

    def eval_batches(
        self, split: Split, batch_size: int, *, length: int | None = None, index: np.ndarray | None = None
    ) -> Iterator[Batch]:
        """Yield the samples with these indices, in order, up to ``batch_size`` or as many as a batch can hold."""
        self.check_length(length)
        index = np.arange(self.size(split)) if index is None else index
        for start in range(0, len(index), batch_size):
            at = start
            for graphs in self._encoded.parts(self._index[split][index[start : start + batch_size]]):
                yield self._take(split, index[at : at + len(graphs)], self.train_length)
                at += len(graphs)

    def _clusters(self, split: Split, length: int) -> np.ndarray:
        """Return one cluster for equal graphs, as their predictions are equal."""
        return np.unique(self._keys[self._index[split]], return_inverse=True)[1].ravel()

    @property
    def encoding(self) -> GraphEncoding:
        """The encoding of new graphs."""
        return GraphEncoding(
            inputs=self._input,
            level=self.level,
            targets=self._values,
            classes=self.classes,
            shift=None if self._scale is None else self._shift.tolist(),
            scale=None if self._scale is None else self._scale.tolist(),
            layout=self._layout,
            **self._files,
        )

    def references(self) -> list[Reference]:
        """The best constant, and linear models on counts of fields and of neighbourhoods."""
        return references_of_graphs(self)


class NodeTask(GraphTask):
    """A class, or numbers, for each node of one graph or of many.

    Samples are the nodes with a target. Of many graphs, equal ones go into the same split with all their nodes, and the
    nodes of a graph are one cluster. Of one graph, nodes go into splits by a hash of their names, stratified by class;
    each batch is the whole graph, whose nodes and edges are all seen, and the targets of the split alone. Clusters are
    then blocks of nodes that are near each other.

    Args:
        y: ``(S,)`` or ``(S, M)``, as of :class:`GraphTask`, of the nodes with a target.
        nodes: ``(S,)``, these nodes, ascending.
    """

    noun: str = "node"
    level: ClassVar[Level] = "nodes"
    of_elements = True

    def __init__(self, graphs: Graphs, y: np.ndarray, nodes: np.ndarray, **given: Any) -> None:
        self._nodes = nodes
        super().__init__(graphs, y, **given)
        self._blocks = self._near()

    def _set_targets(self, y: np.ndarray) -> None:
        super()._set_targets(y)
        self.batch_size = 1 if len(self._graphs.names) == 1 else None

    def _splits(self, y: np.ndarray, split: np.ndarray | None, lost: str) -> dict[Split, np.ndarray]:
        labels, owner = y if self.classes is not None else None, self._graphs.owner[self._nodes]
        if len(self._graphs.names) == 1:
            self._remarks.append(
                "the graph is seen whole in training and in tests: nodes and edges of all splits are inputs, and the "
                "targets of training nodes alone are learnt from; intervals are over blocks of nodes of this graph"
            )
            names = self._graphs.ids[self._nodes].astype(str).astype(object)
            return self._split([names], labels, split, lost)
        if split is not None:
            return self._split([self._keys[owner]], labels, split, lost)
        asked = np.unique(owner)
        found = self._split([self._keys[asked]], None, None, lost)
        return {split: np.flatnonzero(np.isin(owner, asked[part])) for split, part in found.items()}

    def _trained(self) -> np.ndarray:
        nodes = self._nodes[self._index["train"]]
        if len(self._graphs.names) > 1:
            return np.isin(self._graphs.owner, self._graphs.owner[nodes])
        found = np.zeros(len(self._graphs.owner), bool)
        found[nodes] = True
        return found

    def _near(self) -> np.ndarray:
        """Return the cluster of each node, ``(N,)``."""
        if len(self._graphs.names) > 1:
            return self._graphs.owner
        edges = self._encoded.edges[0]
        adjacency = sparse.csr_matrix(edges > 0)
        order = np.empty(len(edges), np.int64)
        order[reverse_cuthill_mckee(adjacency, symmetric_mode=True)] = np.arange(len(edges))
        return neighbours(order[self._encoded.place], shortest=1, most=BLOCKS)

    def _take(self, split: Split, index: np.ndarray, length: int) -> Batch:
        samples = self._index[split][index]
        nodes = self._nodes[samples]
        owner = self._graphs.owner[nodes]
        graphs = np.unique(owner)
        targets, units = self._targets(samples)
        at = places(self._encoded, graphs, self._encoded.place[nodes], owner)
        return self._encoded.batch(graphs, targets, units, at)

    def _trained_on(self, split: Split, step: int, batch_size: int) -> Batch:
        """Return the batch of a training step: all nodes of a split in ``batch_size`` graphs."""
        owner = self._graphs.owner[self._nodes[self._index[split]]]
        known = np.unique(owner)
        chosen = known[self._shuffled(step, min(batch_size, len(known)), len(known))]
        return self._take(split, np.flatnonzero(np.isin(owner, chosen)), self.train_length)

    def eval_batches(
        self, split: Split, batch_size: int, *, length: int | None = None, index: np.ndarray | None = None
    ) -> Iterator[Batch]:
        """Yield the nodes with these indices, ascending, as many graphs at a time as fit."""
        self.check_length(length)
        index = np.arange(self.size(split)) if index is None else index
        owner = self._graphs.owner[self._nodes[self._index[split][index]]]
        for graphs in self._encoded.parts(np.unique(owner)):
            yield self._take(split, index[np.isin(owner, graphs)], self.train_length)

    def _clusters(self, split: Split, length: int) -> np.ndarray:
        return self._blocks[self._nodes[self._index[split]]]

    def references(self) -> list[Reference]:
        """The best constant, linear models on fields of a node and of its neighbours, and what neighbours tell."""
        return references_of_nodes(self)


def open_graphs(
    graphs: Graphs,
    *,
    target: str | Sequence[str] | None,
    kind: str | None,
    category: str | Sequence[str] | None,
    drop: str | Sequence[str] | None,
    keep: str | Sequence[str] | None,
    split: str | None,
    directed: bool | None,
    walks: int,
    class_weights: str | None,
    seed: int,
    layout: DataLayout | None = None,
    files: dict[str, Any] | None = None,
) -> GraphTask:
    """Return the task that the user asks of graphs; see :mod:`anyformer.tasks.readers.graphs` for the arguments.

    Raises:
        DataError: a field does not exist or cannot be used, or there are too few samples.
    """
    if class_weights not in (None, "balanced"):
        raise ValueError(f"{option('class_weights')} must be 'balanced', got {class_weights!r}")
    remarks = list(graphs.remarks)
    level, targets = _targets(graphs, target)
    wishes = Wishes.of(graphs, category=category, drop=drop, keep=keep)
    used: dict[Level, set[str]] = {level: set(targets)}
    if split is not None:
        split_level, split = graphs.find(split, "split")
        if split_level != level:
            raise DataError(
                f"{option('split')}: {split!r} is no field of {_word(level)}, which are to be split"
            )
        used[level].add(split)
    notes, table = list[str](), graphs.table(level)
    known = has_target(table, targets, kind, notes).to_numpy()
    if not known.all():
        done = "left out" if level == "graph" else "seen, and not asked about"
        remarks.append(f"{int((~known).sum())} of {len(known)} {_word(level)} have no target and are {done}")
    rows = replace(table, frame=table.frame[known])
    y, classes = targets_of(rows, targets, kind, remarks)
    given = None if split is None else _given_splits(rows, split)
    labels = np.full((len(known), y.shape[1] if y.ndim == 2 else 1), np.nan)
    labels[known] = y.reshape(len(y), -1)
    if level == "graph":
        graphs, labels = graphs.take(np.flatnonzero(known)), labels[known]
    joined = level == "nodes" and 1 < len(graphs.names) < FEWEST
    if joined:
        remarks.append(
            f"{len(graphs.names)} graphs are too few to be split, and are read as one of several parts"
        )
        graphs = graphs.joined().checked()
    fields = choose_fields(
        *(graphs, wishes, used, {level: list(labels.T)}, remarks),
        directed=graphs.directed if directed is None else directed,
        walks=walks,
    )
    shared: dict[str, Any] = {
        "fields": fields, "values": targets, "classes": classes, "split": given, "name": graphs.path.stem,
        "balanced": class_weights == "balanced", "seed": seed, "remarks": remarks, "layout": layout,
        "files": {**(files or {}), "joined": joined},
    }  # fmt: skip
    if level == "graph":
        return GraphTask(graphs, y, **shared)
    return NodeTask(graphs, y, np.flatnonzero(known), **shared)


def _word(level: Level) -> str:
    return {"graph": "graphs", "nodes": "nodes", "edges": "edges"}[level]


def _targets(graphs: Graphs, target: str | Sequence[str] | None) -> tuple[Level, list[str]]:
    """Return what is asked about, and the fields that are asked for."""
    if target is None:
        for level in ("graph", "nodes"):
            for column in graphs.table(level).frame.columns:
                if column.casefold() in LABELS:
                    return level, [column]
        raise DataError(
            f"{graphs.path}: {option('target', 'FIELD')} must name the field to predict, of graphs, or of nodes as "
            f"{option('target', 'nodes.FIELD')}"
        )
    listed = [name.strip() for name in target.split(",")] if isinstance(target, str) else list(target)
    found = [graphs.find(name, "target") for name in listed]
    if len({level for level, _ in found}) > 1:
        raise DataError(
            f"{option('target')} must name fields of graphs or of nodes, got both: {', '.join(listed)}"
        )
    return found[0][0], [column for _, column in found]


def _given_splits(rows: Any, split: str) -> np.ndarray:
    """Return the split that the user put each row into."""
    words = rows.keys(split).map(lambda text: WORDS.get(str(text).strip().casefold()))
    if words.isna().any():
        odd = rows.keys(split)[words.isna()].iloc[0]
        raise DataError(
            f"{option('split')}: the field {split!r} must be one of {', '.join(WORDS)}, got {odd!r}"
        )
    found: np.ndarray = words.to_numpy(dtype=object)
    return found
