"""Pairs of texts as tokens, and what a model writes as texts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd
import torch
from pydantic import Field
from torch import Tensor

from anyformer.errors import DataError
from anyformer.generate.beam import beam_search
from anyformer.metrics import texts_of
from anyformer.models import SequenceModel
from anyformer.questions import IGNORED
from anyformer.schema import Stream
from anyformer.tables.columns import check_column, is_text
from anyformer.tables.files import read_table
from anyformer.tables.reading import Table
from anyformer.tables.writing import significant
from anyformer.tasks.batch import Batch
from anyformer.tasks.encoding import DataLayout, Encoding
from anyformer.tasks.new_data import Unseen, names_of_rows

START, STOP = 256, 257
"""Tokens besides the 256 bytes: before the first byte of a target, and behind the last one of any text."""
TOKENS = 258


class PairEncoding(Encoding):
    """The encoding of pairs of texts.

    Attributes:
        layout: the column of sources, and how the file is read.
        target: the column of targets.
        source_length, target_length: the most bytes of each.
        width: hypotheses of the beam search that writes an answer.
    """

    decodes: ClassVar[bool] = True
    options: ClassVar[tuple[str, ...]] = ("width",)
    kind: Literal["translate"] = "translate"
    layout: DataLayout
    target: str
    source_length: int
    target_length: int
    width: int = Field(4, ge=1)

    def read(self, path: Path) -> Unseen:
        """Return the sources in a file, as :class:`anyformer.tasks.new_data.Unseen`."""
        table = read_table(path, self.layout.convention)
        assert self.layout.text is not None
        needs = f"the model needs the column {self.layout.text!r}"
        check_column(path, table.frame, self.layout.text, needs=needs)
        column = texts_in(table, self.layout.text)
        known = column.notna()
        remarks = list(table.remarks)
        if not known.any():
            raise DataError(f"{path}: column {self.layout.text!r} has no text in any row")
        if not known.all():
            gone = [str(row + 1) for row in np.flatnonzero(~known)[:3]]
            remarks.append(
                f"{int((~known).sum())} rows have no {self.layout.text!r} and get no answer (first: {', '.join(gone)})"
            )
        x, cut = as_tokens(column[known].tolist(), self.source_length)
        if cut.any():
            remarks.append(f"{int(cut.sum())} texts are longer than {self.source_length} bytes and cut there")
        names = names_of_rows(table, {self.layout.text, self.target}, np.flatnonzero(known))
        names[self.layout.text] = column[known].to_numpy()
        return Unseen(batch_of(x), names, remarks, table.style)

    def decode(self, model: SequenceModel, batch: Batch) -> Tensor:
        """Return the logarithm of each answer's probability and its tokens, ``(B, 2 + target_length)`` float64."""
        tokens, scores = written(model, batch, self.target_length, self.width)
        return torch.cat([scores[:, None].double(), tokens.double()], 1)

    def answers(self, unseen: Any, outputs: Tensor) -> pd.DataFrame:
        """Return the texts and their probabilities beside the sources."""
        texts = texts_of(outputs[:, 1:].long(), STOP)
        shares = significant(outputs[:, :1].exp().numpy(), np.ones(1))[:, 0]
        target = self.target if self.target not in unseen.names else f"{self.target} (answer)"
        return unseen.names.reset_index(drop=True).assign(**{target: texts, f"p({target})": shares})


def texts_in(table: Table, name: str) -> pd.Series:
    """Return a column's texts, None where one is missing or empty."""
    column = table.frame[name]
    texts = column if is_text(column) else table.keys(name).map(str, na_action="ignore")
    return texts.where(texts.notna() & (texts != ""), None)


def as_tokens(texts: Sequence[str], length: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the tokens of texts ``(N, length + 1)`` int16, and which were cut ``(N,)``.

    A text is its bytes and ``STOP``; -1 is behind. Of one with more than ``length`` bytes, whole characters within them
    remain, without ``STOP``.
    """
    x = np.full((len(texts), length + 1), -1, np.int16)
    cut = np.zeros(len(texts), dtype=bool)
    for row, text in enumerate(texts):
        data = text.encode()
        cut[row] = len(data) > length
        if cut[row]:
            data = data[:length].decode(errors="ignore").encode()
        x[row, : len(data)] = np.frombuffer(data, np.uint8)
        if not cut[row]:
            x[row, len(data)] = STOP
    return x, cut


def batch_of(sources: np.ndarray, targets: np.ndarray | None = None) -> Batch:
    """Return samples as a batch, as long as its longest texts: to each target, its tokens so far are given.

    Args:
        sources, targets: ``(N, ...)`` as :func:`as_tokens` gives them; without targets, the first token is asked.
    """
    source = torch.from_numpy(_trimmed(sources))
    mask = source >= 0
    y = torch.from_numpy(np.full((len(sources), 1), STOP, np.int64) if targets is None else _trimmed(targets))
    asked = y >= 0
    x = torch.cat([torch.full_like(y[:, :1], START), y[:, :-1].clamp(min=0)], 1)
    y = torch.full_like(y, IGNORED) if targets is None else y.masked_fill(~asked, IGNORED)
    return Batch(x.masked_fill(~asked, 0), y, asked, source=Stream(source.masked_fill(~mask, 0), mask))


def _trimmed(tokens: np.ndarray) -> np.ndarray:
    return tokens[:, : int((tokens >= 0).sum(1).max(initial=1))].astype(np.int64)


def written(model: SequenceModel, batch: Batch, length: int, width: int) -> tuple[Tensor, Tensor]:
    """Return what a model writes to the sources of a batch by beam search.

    Returns:
        Tokens ``(B, length + 1)`` int64, ``IGNORED`` behind the end; logarithms of their probabilities ``(B,)``.
    """
    prompt = torch.full_like(batch.x[:, :1], START)
    found = beam_search(model, prompt, length + 1, stop_token=STOP, width=width, source=batch.source)
    ends = (found.tokens == STOP).cumsum(1) - (found.tokens == STOP).long() > 0
    tokens = found.tokens.masked_fill(ends, IGNORED)
    return torch.nn.functional.pad(tokens, (0, length + 1 - tokens.shape[1]), value=IGNORED), found.scores
