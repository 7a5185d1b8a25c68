"""The fields of graphs that are inputs, and what they and the edges tell of each node and of pairs of nodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict

from anyformer.errors import DataError
from anyformer.layers.edges import KINDS
from anyformer.spelling import option
from anyformer.tables.columns import check_column
from anyformer.tables.reading import Table
from anyformer.tasks.categorycolumns import texts_of
from anyformer.tasks.choices import note_missing
from anyformer.tasks.columns import input_columns
from anyformer.tasks.graphs.data import Graphs, Level
from anyformer.tasks.graphs.structure import (
    DECIMALS,
    colours,
    hashed,
    matrices,
    mixed,
    of_graphs,
    pairs_of,
    walks,
)

MOST_KINDS = KINDS - 2
"""The most kinds of edges that are told apart; two more stand for missing and for other ones."""
SAME = "edge"
"""The kind of edges without a field that tells it."""
OF_GRAPH = "graph."
"""Begins the names of fields of graphs, which each of their nodes has."""


class GraphFields(BaseModel):
    """The fields that are inputs.

    Attributes:
        numbers, categories: of nodes.
        facts, fact_categories: of graphs, which each of their nodes has.
        edge_kinds: of edges, which together make up their kind.
        edge_numbers: of edges: each node has the mean of its edges.
        directed: edges have a direction.
        walks: steps of the longest random walk whose probability to return each node has.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    numbers: list[str] = []
    categories: list[str] = []
    facts: list[str] = []
    fact_categories: list[str] = []
    edge_kinds: list[str] = []
    edge_numbers: list[str] = []
    directed: bool = False
    walks: int = 8


@dataclass(frozen=True)
class Wishes:
    """Wishes of the user about fields, by level: those to be left out, to be read as categories, and to be kept."""

    drop: dict[Level, list[str]] = field(default_factory=dict)
    category: dict[Level, list[str]] = field(default_factory=dict)
    keep: dict[Level, list[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, graphs: Graphs, **given: str | Sequence[str] | None) -> Wishes:
        """Find the fields that options name.

        Raises:
            DataError: there is no such field.
        """
        found: dict[str, dict[Level, list[str]]] = {}
        for argument, names in given.items():
            listed = names.split(",") if isinstance(names, str) else list(names or ())
            for level, column in (graphs.find(str(name).strip(), argument) for name in listed):
                found.setdefault(argument, {}).setdefault(level, []).append(column)
        return cls(**found)


def choose_fields(
    graphs: Graphs,
    wishes: Wishes,
    used: dict[Level, set[str]],
    labels: dict[Level, list[np.ndarray]],
    remarks: list[str],
    *,
    directed: bool,
    walks: int,
) -> GraphFields:
    """Return the fields that are inputs; remarks say which are not, and why.

    Args:
        graphs: all that were read.
        wishes: the user's.
        used: fields that have another role.
        labels: targets of the rows of a level, as numbers, NaN where missing.
        remarks: takes the reasons.
        directed, walks: see :class:`GraphFields`.
    """
    found: dict[str, list[str]] = {}
    levels: tuple[tuple[Level, str, str], ...] = (
        ("nodes", "numbers", "categories"),
        ("graph", "facts", "fact_categories"),
    )
    for level, numbers, categories in levels:
        table, notes = graphs.table(level), list[str]()
        named = list(wishes.category.get(level, []))
        gone = {*used.get(level, ()), *wishes.drop.get(level, ())}
        if level == "graph" and len(table.frame) == 1:
            if rest := [name for name in table.frame.columns if name not in gone]:
                remarks.append(
                    f"fields of graphs: left out: {', '.join(map(repr, rest))}, the same for all nodes"
                )
            gone |= set(table.frame.columns)
        found[numbers] = input_columns(
            table, gone, wishes.keep.get(level, []), notes, labels=labels.get(level), categories=named
        )
        found[categories] = [name for name in named if name not in gone]
        what = "nodes" if level == "nodes" else "graphs"
        remarks.extend(f"fields of {what}: {note}" for note in notes)
        if found[numbers]:
            values = pd.DataFrame({name: table.numbers(name) for name in found[numbers]})
            note_missing(values, "they are set to the mean and marked", remarks)
            remarks.extend(
                _looks_like_codes(level, values[name]) for name in values if _has_kinds(values[name], 3)
            )
    found |= _of_edges(graphs, wishes, remarks)
    if given := [*found["facts"], *found["fact_categories"]]:
        remarks.append(f"each node is given the fields {', '.join(map(repr, given))} of its graph")
    return GraphFields(**found, directed=directed, walks=walks)


def _of_edges(graphs: Graphs, wishes: Wishes, remarks: list[str]) -> dict[str, list[str]]:
    """Return the fields of edges that make up their kind, and those that are numbers."""
    table, kinds, numbers = graphs.edges, list[str](), list[str]()
    for name in table.frame.columns:
        if name in wishes.drop.get("edges", ()):
            continue
        values = table.numbers(name)
        if table.frame[name].isna().all():
            remarks.append(f"fields of edges: left out: {name!r}, without any value")
        elif table.frame[name].map(lambda value: isinstance(value, list | dict)).any():
            remarks.append(f"fields of edges: left out: {name!r}, of lists or objects")
        elif values is None or name in wishes.category.get("edges", ()):
            kinds.append(name)
        elif name not in wishes.keep.get("edges", ()) and _has_kinds(values):
            kinds.append(name)
            remarks.append(
                f"the whole numbers in {name!r} are kinds of edges; {option('keep', f'edges.{name}')} reads them as "
                "numbers"
            )
        else:
            numbers.append(name)
    if numbers:
        remarks.append(
            f"each node is given the mean of {', '.join(map(repr, numbers))} over its edges; "
            f"{option('category', f'edges.{numbers[0]}')} tells edges apart by it"
        )
    return {"edge_kinds": kinds, "edge_numbers": numbers}


def _has_kinds(values: pd.Series, fewest: int = 1) -> bool:
    """True if the numbers are few whole ones, as kinds are."""
    known = values.dropna()
    return bool((known == known.round()).all()) and fewest <= known.nunique() <= MOST_KINDS


def _looks_like_codes(level: Level, values: pd.Series) -> str:
    name = option("category", f"{level}.{values.name}")
    return f"{str(values.name)!r} holds {values.nunique()} whole numbers, read as amounts; {name} reads them as names"


@dataclass(frozen=True)
class Described:
    """Facts about graphs: about nodes (N rows), in the order of the file, and about pairs of them.

    Attributes:
        numbers: ``(N, F)`` float64, NaN where missing.
        texts: by category ``(N,)`` texts, None where missing.
        pairs: of nodes that edges join, as of :func:`anyformer.tasks.graphs.structure.pairs_of`.
        order: ``(N,)`` the nodes, graph by graph, in an order that does not depend on the file's, up to nodes that
            nothing tells apart.
        keys: ``(G,)`` uint64: graphs that nothing tells apart, whatever the order of their nodes, have the same.
    """

    numbers: np.ndarray
    texts: dict[str, np.ndarray]
    pairs: pd.DataFrame
    order: np.ndarray
    keys: np.ndarray


def describe(graphs: Graphs, fields: GraphFields) -> Described:
    """Return what is known of the nodes and pairs of graphs.

    Raises:
        DataError: a field is missing or does not hold numbers.
    """
    owner, count = graphs.owner, len(graphs.owner)
    texts = {name: _texts(graphs.nodes, name, "nodes") for name in fields.categories}
    texts |= {OF_GRAPH + name: _texts(graphs.whole, name, "graphs")[owner] for name in fields.fact_categories}
    pairs = pairs_of(graphs, _kinds(graphs.edges, fields), directed=fields.directed)
    columns = [_numbers(graphs.nodes, name, "nodes") for name in fields.numbers]
    columns += [_numbers(graphs.whole, name, "graphs")[owner] for name in fields.facts]
    columns += [_means(graphs, _numbers(graphs.edges, name, "edges")) for name in fields.edge_numbers]
    apart = pairs[pairs["from"] != pairs["to"]]
    degrees = np.bincount(apart["from"], minlength=count)
    ones = np.ones(len(apart), np.float32)
    returns = [walks(joined, fields.walks) for joined in matrices(apart, ones, graphs.starts, graphs.sizes)]
    own = np.stack(columns, 1) if columns else np.empty((count, 0))
    numbers = np.column_stack([own, np.log1p(degrees), np.log(graphs.sizes)[owner], np.concatenate(returns)])
    start = np.zeros(count, np.uint64)
    for place, values in enumerate([*own.T, *texts.values()]):
        start += mixed(hashed(values) + np.uint64(place))
    last = colours(start, pairs, hashed(pairs["kind"].to_numpy()))[-1]
    shape = np.concatenate(returns).round(DECIMALS).T
    order = np.lexsort((*shape, last, degrees, owner))
    keys = mixed(of_graphs(last, owner, len(graphs.names)) + graphs.sizes.astype(np.uint64))
    return Described(numbers, texts, pairs, order, keys)


def _numbers(table: Table, name: str, of: str) -> np.ndarray:
    check_column(table.path, table.frame, name, needs=f"the model needs the field {name!r} of {of}")
    values = table.numbers(name)
    if values is None:
        raise DataError(
            f"{table.path}: the field {name!r} of {of} is not numeric (it holds {table.shown(name)})"
        )
    return values.to_numpy()


def _texts(table: Table, name: str, of: str) -> np.ndarray:
    check_column(table.path, table.frame, name, needs=f"the model needs the field {name!r} of {of}")
    return texts_of(table, name)


def _kinds(edges: Table, fields: GraphFields) -> np.ndarray:
    """Return the kind of each edge as a text."""
    columns = [_texts(edges, name, "edges") for name in fields.edge_kinds]
    if not columns:
        return np.full(len(edges.frame), SAME, dtype=object)
    rows = zip(*columns)
    texts = [", ".join("missing" if text is None else text for text in row) for row in rows]
    return np.array(texts, dtype=object)


def _means(graphs: Graphs, values: np.ndarray) -> np.ndarray:
    """Return the mean of an edge's number over the edges of each node, NaN without one."""
    ends, known = graphs.ends.T.ravel(), np.tile(~np.isnan(values), 2)
    sums, counts = np.zeros(len(graphs.owner)), np.zeros(len(graphs.owner))
    np.add.at(sums, ends[known], np.tile(values, 2)[known])
    np.add.at(counts, ends[known], 1)
    found: np.ndarray = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
    return found


def note_edges(graphs: Graphs, described: Described, fields: GraphFields, remarks: list[str]) -> None:
    """Add remarks on the edges: their direction, those of a node to itself, and several of one pair."""
    loops = int((graphs.ends[:, 0] == graphs.ends[:, 1]).sum())
    alone = len(graphs.names) - len(np.unique(graphs.owner[graphs.ends[:, 0]]))
    listed = pd.DataFrame(graphs.ends).drop_duplicates()
    apart = listed[listed[0] != listed[1]]
    turned = pd.DataFrame({0: apart[1], 1: apart[0]})
    both = len(apart.merge(turned)) if len(apart) else 0
    again = len(graphs.ends) - len(listed)
    if alone:
        remarks.append(f"{alone} of {len(graphs.names)} graphs have no edge")
    if loops:
        remarks.append(
            f"{loops} edges join a node to itself: they are kinds of edges, and no steps of walks or paths"
        )
    if again:
        remarks.append(
            f"{again} edges join nodes that an earlier edge joins in the same direction: equal ones are read once, and "
            "different kinds of a pair are one kind together"
        )
    if fields.directed:
        remarks.append(
            "edges have a direction: nodes see what enters and what leaves them as different kinds"
        )
    elif both == len(apart) and both:
        remarks.append("each edge stands in both directions, and is read once")
    else:
        remarks.append(
            f"edges have no direction; {option('directed', True)} tells those that enter and leave apart"
        )
