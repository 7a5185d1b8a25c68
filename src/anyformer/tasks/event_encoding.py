"""The encoding of logs of events whose next item is asked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pydantic
import torch
from torch import Tensor

from anyformer.errors import DataError
from anyformer.questions import UNKNOWN
from anyformer.schema import NUMBERS, Field, StreamFacts
from anyformer.tables.columns import check_column
from anyformer.tables.files import read_table
from anyformer.tables.timeaxis import as_written, axis_again
from anyformer.tables.writing import significant
from anyformer.tasks.batch import Batch
from anyformer.tasks.categories import FIRST, Category, Texts
from anyformer.tasks.categorycolumns import texts_of
from anyformer.tasks.encoding import DataLayout, Encoding, Standard, as_tensors
from anyformer.tasks.eventlog import gaps_of, in_order
from anyformer.tasks.new_data import Unseen, categories_in, groups_in, named_groups, numbers_in

BLOCK = 1 << 20
"""Events whose numbers are encoded at once."""


class EventEncoding(Encoding):
    """The encoding of events whose next item is asked.

    Attributes:
        item: the items; those with a code can be told.
        standard: encodes the numbers, the last of which is the gap if there are dates; None if there are none.
        categories: encode the other categories.
        only_new: tell items alone that the user has not had.
        top: number of items told of each user.
    """

    continues = True
    options = ("top",)
    kind: Literal["next"] = "next"
    layout: DataLayout
    item: Category
    standard: Standard | None = None
    categories: list[Category] = []
    only_new: bool = False
    top: int = pydantic.Field(10, ge=1)

    @property
    def numbers_name(self) -> str:
        """The field of the numbers, side by side: no category is called so."""
        name, others = NUMBERS, {self.item.name, *(category.name for category in self.categories)}
        while name in others:
            name = f"({name})"
        return name

    @property
    def length(self) -> int:
        """The most events that are looked at."""
        assert self.layout.length is not None
        return self.layout.length

    def stream(self) -> StreamFacts:
        """Return the fields of an event."""
        fields = [Field(name=one.name, size=one.size) for one in (self.item, *self.categories)]
        if self.standard is not None:
            width = len(self.standard.mean[0]) * (1 + self.standard.marks)
            fields.append(Field(name=self.numbers_name, width=width))
        return StreamFacts(fields=fields, asked=self.item.name)

    def inputs(self, items: Texts, x: np.ndarray, texts: Mapping[str, Texts]) -> dict[str, np.ndarray]:
        """Return the fields of each event ``(N, ...)``.

        Args:
            items: ``(N,)`` texts.
            x: numbers ``(N, F)``, NaN where one is missing.
            texts: ``(N,)`` by category, None where one is missing.
        """
        found = {self.item.name: self.item.encode(items).astype(np.int32)}
        for category in self.categories:
            found[category.name] = category.encode(texts[category.name]).astype(np.int32)
        if self.standard is not None:
            blocks = [x[None, start : start + BLOCK] for start in range(0, max(len(x), 1), BLOCK)]
            parts = [self.standard.encode(block)[0].astype(np.float32) for block in blocks]
            found[self.numbers_name] = np.concatenate(parts)
        return found

    def read(self, path: Path) -> Unseen:
        """Return the last events of each user in a file; without a column of users, of the whole file."""
        layout, remarks = self.layout, list[str]()
        table = read_table(path, layout.convention)
        remarks.extend(table.remarks)
        item = check_column(
            path, table.frame, self.item.name, needs=f"the model needs the column {self.item.name!r}"
        )
        keys = groups_in(table, layout.groups, remarks)
        items = texts_of(table, item)
        known = keys.notna().to_numpy() & pd.notna(items)
        if without := int((pd.isna(items) & keys.notna().to_numpy()).sum()):
            remarks.append(f"{without} rows have no {item!r} and are left out")
        times = None
        if layout.date is not None:
            dated = axis_again(path, as_written(table), layout.date, layout.reading, remarks, keys)
            times = dated.instants.to_numpy()
            if undated := int((np.isnat(times) & known).sum()):
                remarks.append(f"{undated} rows have no date and are left out")
            known &= ~np.isnat(times)
        if not known.any():
            raise DataError(f"{path}: no row has all of {', '.join(map(repr, [*layout.groups, item]))}")
        users, different = pd.factorize(keys.where(known))
        order = in_order(users, times)
        x = numbers_in(table, layout.columns, remarks).to_numpy()[order]
        if gone := int(np.isnan(x).sum()):
            marked = " and marked" if self.standard is not None and self.standard.marks else ""
            remarks.append(f"missing values: {gone}, set to the mean{marked}")
        if times is not None:
            x = np.column_stack([x, gaps_of(users[order], times[order])])
        texts = {name: one[order] for name, one in categories_in(table, self.categories, remarks).items()}
        self._note_unknown(items[order], remarks)
        batch = self._ends(users[order], self.inputs(items[order], x, texts))
        names = (
            named_groups(table, layout.groups, keys, list(different))
            if layout.groups
            else pd.DataFrame(index=[0])
        )
        return Unseen(batch, names, remarks, table.style)

    def _note_unknown(self, items: np.ndarray, remarks: list[str]) -> None:
        unknown = self.item.unknown(items)
        if unknown:
            rows = int(np.isin(items, unknown).sum())
            shown = ", ".join(map(repr, unknown[:3])) + (", ..." if len(unknown) > 3 else "")
            remarks.append(
                f"{rows} of {len(items)} rows have one of {len(unknown)} values of {self.item.name!r} that the model "
                f"does not know ({shown}): they are read as one, and none of them is told"
            )

    def _ends(self, users: np.ndarray, fields: Mapping[str, np.ndarray]) -> Batch:
        """Return the last events of each user, asked at the last."""
        starts, end = (
            np.searchsorted(users, np.arange(users[-1] + 1), side=side) for side in ("left", "right")
        )
        begin = np.maximum(starts, end - self.length)
        values, mask = sequences(fields, begin, end, self.length)
        at = torch.from_numpy(end - begin - 1)[:, None]
        had = (
            excluded_before(fields[self.item.name], starts[:, None], end[:, None]) if self.only_new else None
        )
        targets = torch.full_like(at, UNKNOWN)
        return Batch(as_tensors(values), targets, torch.from_numpy(mask), at=at, excluded=had)

    def kept(self, outputs: Tensor, asked: Tensor | None = None) -> Tensor:
        """Return the likeliest items of each user, and their probabilities: ``(B, top, 2)`` float64."""
        shares = outputs[:, 0].double().softmax(-1)
        found = shares.topk(min(self.top, shares.shape[-1]))
        return torch.stack([found.indices.double(), found.values], -1)

    def answers(self, unseen: Any, outputs: Tensor) -> pd.DataFrame:
        """Return the users' columns, the rank, the item and its probability ``p``, a row for each rank of each user."""
        users, top = outputs.shape[:2]
        codes, shares = outputs[..., 0].flatten().long().numpy(), outputs[..., 1].flatten().numpy()
        taken = {*unseen.names.columns, self.item.name}
        rank, p = (name if name not in taken else f"({name})" for name in ("rank", "p"))
        names = unseen.names.loc[np.repeat(np.arange(users), top)].reset_index(drop=True)
        names[rank] = np.tile(np.arange(1, top + 1), users)
        names[self.item.name] = np.array(self.item.values, dtype=object)[codes]
        names[p] = significant(shares, np.ones(1))
        if not self.only_new:
            return names
        told = names[shares > 0].reset_index(drop=True)
        without = users - len(np.unique(np.repeat(np.arange(users), top)[shares > 0]))
        if without:
            unseen.remarks.append(
                f"{without} users have had all items that the model knows: none is told for them"
            )
        return told


def sequences(
    fields: Mapping[str, np.ndarray], begin: np.ndarray, end: np.ndarray, length: int
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return the fields of events from ``begin`` to ``end`` of each sample, ``(S, length, ...)``, and their mask."""
    places = begin[:, None] + np.arange(length)
    mask = places < end[:, None]
    places = np.where(mask, places, 0)
    found = {}
    for name, value in fields.items():
        taken = value[places]
        taken[~mask] = 0
        found[name] = taken
    return found, mask


def excluded_before(codes: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> torch.Tensor:
    """Return the classes of the items from ``starts`` to before ``ends`` ``(B, N)``: ``(B, N, L)``, -1 for none."""
    places = starts[..., None] + np.arange(max(1, int((ends - starts).max())))
    there = places < ends[..., None]
    classes = codes[np.where(there, places, 0)].astype(np.int64) - FIRST
    return torch.from_numpy(np.where(there, np.maximum(classes, -1), -1))
