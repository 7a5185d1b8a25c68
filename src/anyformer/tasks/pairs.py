"""Pairs of texts: one is written from the other, byte by byte."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from torch import Tensor

from anyformer.metrics import create_metric
from anyformer.models import SequenceModel
from anyformer.objectives import NextToken
from anyformer.questions import Question
from anyformer.schema import InputFacts
from anyformer.tasks.base import Reference, Split, Task, check_integer
from anyformer.tasks.batch import Batch
from anyformer.tasks.pair_encoding import STOP, TOKENS, PairEncoding, as_tokens, batch_of, written
from anyformer.tasks.pair_references import CopySource, Dictionary, FrequentTarget
from anyformer.tasks.splits import split_alike, split_as_given

LONGEST = 256
"""The most bytes of a text where ``length`` is not given."""
DECODED_TOKENS = 12_000
"""About as many tokens are written for the measures of what models write."""


class PairTask(Task):
    """Write a text, the target, from another, the source.

    The source ``ab`` and the target ``xyz`` are a sample of bytes, with a token that begins a target (256) and one that
    ends a text (257)::

        source    97   98  257           "ab" STOP
        x        256  120  121  122      START "xyz"
        target   120  121  122  257      "xyz" STOP

    Equal sources go into the same split, and are one piece of evidence.

    Args:
        sources, targets: texts, none empty.
        name: of the task.
        encoding: the columns; its lengths are set here.
        length: the most bytes of a text; longer ones are cut. By default 256, or less if all are shorter.
        split: of each pair, ``(N,)`` texts, if the user has split them.
        seed: fixes the split and the order of training.
        remarks: notes from the reader.

    Raises:
        DataError: there are too few pairs.
    """

    candidates = ("encoder_decoder", "transformer", "mamba depth=2", "retnet")
    why = (
        "an encoder reads the whole source before anything is written; the others read source and answer as one text, "
        "by attention or with a memory of fixed size"
    )
    vocab_size = TOKENS
    source = InputFacts(vocab_size=TOKENS)

    def __init__(
        self,
        sources: Sequence[str],
        targets: Sequence[str],
        *,
        name: str,
        encoding: PairEncoding,
        length: int | None = None,
        split: np.ndarray | None = None,
        seed: int = 0,
        remarks: Sequence[str] = (),
    ) -> None:
        self.name, self.seed, self._remarks = name, seed, list(remarks)
        if length is not None:
            check_integer("length", length, low=1)
        names = (str(encoding.layout.text), encoding.target)
        sizes = [self._longest(texts, length or LONGEST) for texts in (sources, targets)]
        (self._x, cut_x), (self._y, cut_y) = (
            as_tokens(texts, size) for texts, size in zip((sources, targets), sizes, strict=True)
        )
        self.source_length, self.train_length = (size + 1 for size in sizes)
        self._encoding = encoding.model_copy(update={"source_length": sizes[0], "target_length": sizes[1]})
        self.texts = (list(sources), list(targets))
        self._note_cut(names, (cut_x, cut_y), sizes)
        read = np.array(
            [row.tobytes() for row in self._x], dtype=object
        )  # texts may be equal as far as they are read
        self._cluster = np.unique(read, return_inverse=True)[1]
        self._note_several()
        parts = [read]
        self._rows = (
            split_alike(parts, None, None, seed, name)
            if split is None
            else split_as_given(split, parts, None, None, seed, name, self._remarks)
        )
        self.objective = NextToken(TOKENS)
        self.metric = create_metric("exact_match", self.question)
        beside = ("character_error_rate", "chrf", "bits_per_byte")
        self.beside = tuple(create_metric(name, self.question) for name in beside)
        self.beside_items = int(np.clip(DECODED_TOKENS // self.train_length, 32, 256))
        self.title = f"Write {names[1]!r} from {names[0]!r}."

    @staticmethod
    def _longest(texts: Sequence[str], length: int) -> int:
        return min(length, max((len(text.encode()) for text in texts), default=0))

    def _note_cut(self, names: tuple[str, str], cut: tuple[np.ndarray, np.ndarray], sizes: list[int]) -> None:
        for name, long, size, what in zip(
            names, cut, sizes, ("the rest is not read", "only their beginnings are asked"), strict=True
        ):
            if long.any():
                self._remarks.append(
                    f"{int(long.sum())} of {len(long)} texts in {name!r} are longer than {size} bytes and cut there: "
                    f"{what}"
                )

    def _note_several(self) -> None:
        """Add remarks on equal pairs, and on equal sources with different targets."""
        sources, targets = self.texts
        pairs, different = len(set(zip(sources, targets, strict=True))), len(set(self._cluster.tolist()))
        if pairs < len(sources):
            self._remarks.append(f"{len(sources) - pairs} of {len(sources)} pairs repeat others")
        if different < pairs:
            self._remarks.append(
                f"{pairs - different} pairs have a source that others have with another target: equal sources are in "
                "the same split, and not all of them can be matched exactly"
            )

    def size(self, split: Split, length: int | None = None) -> int:
        """Return the number of pairs of a split."""
        return len(self._rows[split])

    def _take(self, split: Split, index: np.ndarray, length: int) -> Batch:
        rows = self._rows[split][index]
        return batch_of(self._x[rows], self._y[rows])

    def _clusters(self, split: Split, length: int) -> np.ndarray:
        found: np.ndarray = self._cluster[self._rows[split]]
        return found

    def decode(self, model: SequenceModel, batch: Batch) -> Tensor:
        """Return what a model writes, greedily: tokens ``(B, N)``, ``IGNORED`` behind the end."""
        return written(model, batch, self._encoding.target_length, 1)[0]

    @property
    def question(self) -> Question:
        """The next byte of the target at each of its positions, the end included."""
        return replace(self.objective.question, field="byte", stop=STOP)

    def references(self) -> list[Reference]:
        """The source itself, the most frequent target, and the target of the nearest training source."""
        sources, targets = self.pairs("train")
        return [CopySource(), FrequentTarget(targets), Dictionary(sources, targets)]

    def pairs(self, split: Split) -> tuple[list[str], list[str]]:
        """Return the sources and the targets of a split, whole."""
        rows = self._rows[split]
        found = [[texts[row] for row in rows] for texts in self.texts]
        return found[0], found[1]

    def describe(self) -> dict[str, Any]:
        """Return facts for the report."""
        facts = {
            "pairs": len(self.texts[0]),
            "source": self._encoding.layout.text,
            "target": self._encoding.target,
        }
        return {**super().describe(), **facts, "source_length": self.source_length}

    def notes(self) -> list[str]:
        """Return remarks on the data and on decisions made."""
        return list(self._remarks)

    @property
    def encoding(self) -> PairEncoding:
        """The encoding of new sources."""
        return self._encoding
