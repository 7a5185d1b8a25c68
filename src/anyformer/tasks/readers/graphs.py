"""Graphs in JSON, one on each line or one in a file."""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from anyformer.tables.packed import is_packed, suffix_of
from anyformer.tasks.base import Task, check_integer
from anyformer.tasks.choices import check_kind
from anyformer.tasks.graphs.encoding import GraphEncoding
from anyformer.tasks.graphs.jsonl import EDGES, NODES, read_graphs
from anyformer.tasks.graphs.task import open_graphs
from anyformer.tasks.readers import register_reader
from anyformer.tasks.readers._base import Reader

KINDS = ("classify", "regress")
_KEYS = [re.compile(rf'"(?:{"|".join(names)})"\s*:'.encode()) for names in (NODES, EDGES)]


@register_reader("graphs")
class GraphsReader(Reader):
    """Graphs with a class or numbers for each, or for each of their nodes."""

    title = "graphs"
    encodings = (GraphEncoding,)

    @classmethod
    def takes(cls, path: Path) -> bool:
        """True for JSON whose first object has nodes and edges."""
        if not path.is_file() or suffix_of(path) not in (".jsonl", ".ndjson", ".json"):
            return False
        with (gzip.open if is_packed(path) else open)(path, "rb") as file:
            try:
                first = b""
                while not first.strip() and (line := file.readline()):
                    first = line
                first += file.read() if suffix_of(path) == ".json" else b""
            except (OSError, EOFError, zlib.error):  # damaged, as the reader of tables says
                return False
        return first.lstrip(b"\xef\xbb\xbf \t").startswith(b"{") and all(key.search(first) for key in _KEYS)

    @staticmethod
    def open(
        path: Path,
        target: str | Sequence[str] | None = None,
        *,
        kind: Literal["classify", "regress"] | None = None,
        category: str | Sequence[str] | None = None,
        drop: str | Sequence[str] | None = None,
        keep: str | Sequence[str] | None = None,
        split: str | None = None,
        directed: bool | None = None,
        walks: int = 8,
        class_weights: Literal["balanced"] | None = None,
        seed: int = 0,
    ) -> Task:
        """Return the task of the graphs.

        Args:
            path: the data.
            target: the field to predict, of graphs, or of nodes as ``nodes.FIELD``.
            kind: ``"classify"`` or ``"regress"``; chosen from the data where not given.
            category: fields to read as categories, such as codes written as numbers; ``nodes.x`` and ``edges.x`` tell
                fields of the same name apart.
            drop: fields to leave out.
            keep: fields of numbers that are inputs although they look like ids.
            split: the field that says of each graph, or node, whether it is train, valid or test.
            directed: whether edges have a direction; as the file says where not given.
            walks: steps of the longest random walk whose probability to return is an input of nodes; 0 for none.
            class_weights: "balanced" weighs the loss of each class by the inverse of its frequency in training.
            seed: fixes the split and the order of training.
        """
        check_kind(kind, KINDS)
        check_integer("walks", walks, low=0, high=64)
        return open_graphs(
            read_graphs(path),
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
        )
