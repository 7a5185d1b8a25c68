"""The encoding of samples of which a class, labels, or some numbers, are asked."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from anyformer.schema import NUMBERS, Field, StreamFacts
from anyformer.tables.delimited import DelimitedStyle
from anyformer.tables.writing import significant
from anyformer.tasks.batch import Batch
from anyformer.tasks.categories import Category
from anyformer.tasks.encoding import Encoding, Inputs, Standard, as_tensors
from anyformer.tasks.label_sets import label_columns
from anyformer.tasks.new_data import Unseen, beside


class LabelledEncoding(Encoding):
    """The encoding of samples with a class or with numbers to predict; a subclass implements ``read``.

    Attributes:
        targets: names of the class, or of each number.
        classes: names of the classes, if a class is predicted.
        labels: names of the labels, if any number of them is.
        shift, scale: of the standardised targets, if numbers are predicted.
    """

    targets: list[str] = []
    classes: list[str] | None = None
    labels: list[str] | None = None
    shift: list[float] | None = None
    scale: list[float] | None = None

    def unknown_targets(self, count: int) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Return the targets of ``count`` new samples, -1 or NaN, and the shift and scale of numbers."""
        if self.classes is not None:
            return torch.full((count,), -1), None, None
        unknown = torch.full((count, len(self.labels or self.targets)), torch.nan)
        if self.labels is not None:
            return unknown, None, None
        shift, scale = (
            torch.tensor([numbers], dtype=torch.float64).expand(unknown.shape)
            for numbers in (self.shift, self.scale)
        )
        return unknown, shift, scale

    def answers(self, unseen: Unseen, outputs: Tensor) -> pd.DataFrame:
        """Return the class of each sample with a column ``p(class)`` for each, or its numbers, beside its name."""
        outputs = outputs.detach().cpu().double()
        if self.labels is not None:
            return beside(unseen.names, label_columns(self.targets, self.labels, outputs))
        if self.classes is not None:
            shares = outputs.softmax(-1).numpy()
            found = {self.targets[0]: np.array(self.classes, dtype=object)[shares.argmax(-1)]}
            shares = significant(shares, np.ones(1))
            found |= {f"p({name})": shares[:, i] for i, name in enumerate(self.classes)}
        else:
            shift, scale = np.array(self.shift), np.array(self.scale)
            values = outputs.reshape(-1, len(self.targets)).numpy() * scale + shift
            found = dict(zip(self.targets, significant(values, scale).T))
        return beside(unseen.names, found)


class SequenceEncoding(LabelledEncoding):
    """The encoding of sequences of tokens, or of numbers and categories.

    Attributes:
        vocab_size: number of tokens, if the inputs are tokens.
        standard, categories: encode the numbers and the categories; at least one is set if the inputs are not tokens.
        lengths: fewest and most elements of a training sequence; None for records.
    """

    vocab_size: int | None = None
    lengths: tuple[int, int] | None = None
    standard: Standard | None = None
    categories: list[Category] = []

    @property
    def record(self) -> list[str] | None:
        """Names of the columns of numbers, if each sample is a record of its columns and no sequence."""
        return None

    @property
    def of_texts(self) -> bool:
        """True if the tokens are those of texts, by bytes or by a tokenizer."""
        return False

    @property
    def numbers_name(self) -> str:
        """The field of a sequence's columns of numbers, side by side: no category is called so."""
        name = NUMBERS
        while name in {category.name for category in self.categories}:
            name = f"({name})"
        return name

    def inputs(self, x: np.ndarray, texts: Mapping[str, np.ndarray]) -> Inputs:
        """Return tokens, or numbers and categories, as arrays, which :func:`as_tensors` turns into a model's inputs.

        Args:
            x: tokens ``(N, T)``, or numbers ``(N, T, F)`` with NaN where one is missing, none without ``standard``.
            texts: for each category ``(N, T)`` texts, None where one is missing; ``(N,)`` if each sequence is a record,
                whose numbers are the ``T`` columns of ``x``.
        """
        if self.vocab_size is not None:
            return x
        numbers = None if self.standard is None else self.standard.encode(x)
        if not self.categories and self.record is None:
            assert numbers is not None
            return numbers
        codes = {category.name: category.encode(texts[category.name]) for category in self.categories}
        if numbers is None:
            return codes
        if self.record is not None:
            return {**{name: numbers[:, place] for place, name in enumerate(self.record)}, **codes}
        return {self.numbers_name: numbers, **codes}

    def stream(self) -> StreamFacts | None:
        """Return the fields of the inputs; None if they are tokens, or series of numbers alone."""
        if not self.categories and self.record is None:
            return None
        width = 0 if self.standard is None else len(self.standard.mean[0]) * (1 + self.standard.marks)
        names = [self.numbers_name] if self.record is None else self.record
        fields = [Field(name=name, width=width) for name in names if width]
        fields += [Field(name=category.name, size=category.size) for category in self.categories]
        return StreamFacts(shape="sequence" if self.record is None else "record", fields=fields)

    def unseen(
        self,
        x: np.ndarray,
        names: pd.DataFrame,
        remarks: list[str],
        *,
        texts: Mapping[str, np.ndarray] | None = None,
        mask: np.ndarray | None = None,
        style: DelimitedStyle | None = None,
        told: bool = False,
    ) -> Unseen:
        """Return new sequences with unknown targets.

        Args:
            x, texts: as for :meth:`inputs`.
            names: a row for each sequence.
            remarks: decisions made about them; one on missing numbers is added, unless it is ``told`` already.
            mask: ``(N, T)`` bool, True at real elements; None if all are.
            style: the format of a file of delimited text.
        """
        if self.standard is not None and (gone := int(np.isnan(x).sum())) and not told:
            marked = " and marked" if self.standard.marks else ""
            remarks.append(
                f"1 value is missing; it is set to the mean{marked}"
                if gone == 1
                else f"{gone} values are missing; they are set to the mean{marked}"
            )
        remarks.extend(self._of_other_lengths(np.full(len(x), x.shape[1]) if mask is None else mask.sum(1)))
        inputs, (targets, shift, scale) = (
            as_tensors(self.inputs(x, texts or {})),
            self.unknown_targets(len(x)),
        )
        seen = None if mask is None or mask.all() else torch.from_numpy(mask)
        return Unseen(Batch(inputs, targets, seen, shift, scale), names, remarks, style or DelimitedStyle())

    def _of_other_lengths(self, lengths: np.ndarray) -> list[str]:
        """Return a remark on the sequences, if any, that are shorter or longer than all in training; none on texts."""
        if self.lengths is None or self.of_texts:
            return []
        least, most = self.lengths
        other = lengths[(lengths < least) | (lengths > most)]
        if not len(other):
            return []
        had, have = (
            f"{a:,} steps" if a == b else f"{a:,} to {b:,} steps"
            for a, b in (self.lengths, (other.min(), other.max()))
        )
        return [
            f"{len(other):,} of {len(lengths):,} sequences have {have}, and those in training had {had}: the model has "
            "not learnt about such lengths"
        ]
