"""Tables made from known values, written in the ways that people and programs write them."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from hypothesis import strategies as st
from strategies import date_columns

MARKS = ("", "NA", "n/a", "NaN", "null", "-", "?")
ODD = ("broken", "<5", "12 or so", "inf", "-Infinity", "1e300", "9" * 400)
"""What is no number, or none to reckon with."""
LABELS = (
    ("a", "b"),
    ("1", "2"),
    ("yes", "no"),
    ("01", "02", "10"),
    ("True", "False"),
    ("Ja", "ja"),
    ("1.5", "2"),
)
NAMES = (
    *(
        "level",
        "temp, \N{DEGREE SIGN}C",
        "Preis (EUR)",
        "x.1",
        "Gr\u00f6\u00dfe",
        "a b",
        '5" pipe',
        "y;z",
        "u|v",
    ),
    *("t1", "Zeit [s]", "price #", "h", "2nd"),
)
MARKED = (
    *(
        (".", ""),
        (".", ""),
        (".", ","),
        (",", ""),
        (",", "."),
        (",", " "),
        (".", " "),
        (",", "\u00a0"),
        (".", "'"),
    ),
    (",", "\u202f"),
)
"""Decimal marks with what parts thousands."""
EXTRAS = ("bom", "trailing", "comment", "sep", "blank", "wide", "named", "again")
"""What a file of text may have besides: its encoding, comments, names of rows, and names of columns that come again."""
AROUND = (
    *(("", ""), ("", ""), ("", ""), ("$", ""), ("", " \N{EURO SIGN}"), ("EUR ", ""), ("", "%"), ("", " kr")),
    *(("CHF ", ""), ("", " USD"), ("R$ ", "")),
)
"""What stands before and after a number."""


@dataclass(frozen=True)
class NumberStyle:
    """How a column writes its numbers: marks, signs, and what stands about them."""

    decimal: str = "."
    thousands: str = ""
    before: str = ""
    after: str = ""
    minus: str = "-"
    fixed: bool = False

    def write(self, mantissa: int, digits: int) -> str:
        """``mantissa / 10**digits`` as text; without its last zeros unless fixed."""
        whole, part = divmod(abs(mantissa), 10**digits)
        fraction = f"{part:0{digits}d}" if digits else ""
        if not self.fixed:
            fraction = fraction.rstrip("0")
        text = f"{whole:,}".replace(",", self.thousands) + (self.decimal + fraction if fraction else "")
        text = f"{self.before}{text}{self.after}"
        if mantissa < 0:
            return f"({text})" if self.minus == "()" else f"{self.minus}{text}"
        return text


@dataclass(repr=False)
class Sheet:
    """A table and what it was made from.

    Attributes:
        cells: by column, in the order of the file, the texts of all rows.
        truth: by column of numbers, float64, NaN where it is missing.
        target: the column to be told.
        labels: its classes by row, None where one is missing; None where it is a column of numbers.
        others: columns that are no inputs, but for ``city``, a category of rows and groups.
        options: for the reader.
        separator, quoting, end, extras: of a file of text.
        kind: of the file, ``csv``, ``jsonl`` or ``parquet``.
        dates, groups: of the rows, datetime64[us] and names.
        refusal: words of the one message that may refuse it.
    """

    cells: dict[str, list[str]]
    truth: dict[str, np.ndarray]
    target: str
    labels: list[str | None] | None
    others: list[str]
    options: dict[str, Any] = field(default_factory=dict)
    separator: str = ","
    quoting: int = csv.QUOTE_MINIMAL
    end: str = "\n"
    extras: tuple[str, ...] = ()
    kind: str = "csv"
    dates: np.ndarray | None = None
    groups: list[str] | None = None
    refusal: str = "with and without %"

    @property
    def odd(self) -> list[str]:
        """Columns with a cell that is no number to reckon with."""
        return [name for name in self.truth if set(self.cells[name]) & set(ODD)]

    def known(self) -> np.ndarray:
        """Which rows have a target."""
        if self.labels is None:
            return ~np.isnan(self.truth[self.target])
        return np.array([label is not None for label in self.labels])

    def __repr__(self) -> str:
        what = "".join(f", {name}: {cells[:4]}" for name, cells in self.cells.items())
        return f"Sheet({self.kind}, {self.separator!r}, {self.extras}, {self.options}{what})"

    def save(self, folder: Path) -> Path:
        """The file."""
        path = folder / f"sheet.{self.kind}"
        if self.kind == "csv":
            encoding = "utf-16" if "wide" in self.extras else "utf-8-sig" if "bom" in self.extras else "utf-8"
            path.write_bytes(self.text().encode(encoding))
        elif self.kind == "jsonl":
            rows = zip(*self.cells.values())
            lines = [json.dumps({k: v or None for k, v in zip(self.cells, row)}) for row in rows]
            path.write_text("\n".join(lines))
        else:
            frame = pd.DataFrame(
                {name: [cell or None for cell in cells] for name, cells in self.cells.items()}
            )
            frame.to_parquet(path)
        return path

    def text(self) -> str:
        """The file's text."""
        out = io.StringIO()
        writer = csv.writer(out, delimiter=self.separator, quoting=self.quoting, lineterminator=self.end)  # type: ignore[arg-type]
        trailing = [""] if "trailing" in self.extras else []
        if "comment" in self.extras:
            out.write(f"# made; for, a test{self.end}")
        if "sep" in self.extras:
            out.write(f"sep={self.separator}{self.end}")
        writer.writerow([*self.cells, *trailing])
        named = "named" in self.extras and not trailing and len(self.cells) > 1
        for number, row in enumerate(zip(*self.cells.values())):
            writer.writerow([*([f"row {number + 1}"] if named else []), *row, *trailing])
            if "again" in self.extras and number == 9 and len(self.cells) > 1:
                writer.writerow([*self.cells, *trailing])
            if "blank" in self.extras and number == 5:
                out.write(self.end)
        return out.getvalue()


def number_styles() -> st.SearchStrategy[NumberStyle]:
    """Marks, signs and units in all combinations."""
    return st.builds(
        lambda marks, around, minus, fixed: NumberStyle(*marks, *around, minus, fixed),
        st.sampled_from(MARKED),
        st.sampled_from(AROUND),
        st.sampled_from(["-", "-", "\N{MINUS SIGN}", "()"]),
        st.booleans(),
    )


@st.composite
def number_columns(draw: st.DrawFn, rows: int, plain: bool) -> tuple[list[str], np.ndarray]:
    """A column's texts and values: one range, one number of digits, one style, some missing, one no number."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    digits = draw(st.sampled_from([0, 0, 1, 2, 3, 3]))
    high = draw(st.sampled_from([10, 900, 2_000, 100_000, 3_000_000, 4_000_000_000]))
    low = draw(st.sampled_from([0, 0, 1, -high]))
    mantissas = rng.integers(low * 10**digits, high * 10**digits, rows)
    style = NumberStyle() if plain else draw(number_styles())
    cells = [style.write(int(mantissa), digits) for mantissa in mantissas]
    values = np.array([float(f"{mantissa}e-{digits}") for mantissa in mantissas])
    if draw(st.booleans()):
        mark = draw(st.sampled_from(MARKS))
        for row in rng.choice(rows, draw(st.integers(1, rows // 8)), replace=False):
            cells[row], values[row] = mark, np.nan
    if draw(st.integers(0, 5)) == 0:
        row = int(rng.integers(rows))
        cells[row], values[row] = draw(st.sampled_from(ODD)), np.nan
    return cells, values


def others(rows: int, rng: np.random.Generator) -> dict[str, list[str]]:
    """Columns that are no inputs, by name."""
    numbers = np.arange(rows)
    kept = np.sort(rng.choice(3 * rows, rows, replace=False))
    return {
        "": [str(i + 1) for i in numbers],
        "Unnamed: 0": [str(i) for i in kept],
        "id": [str(i) for i in rng.permutation(rows) + 1000],
        "uuid": [f"{rng.integers(2**32):08x}-0000-4000-8000-{i:012x}" for i in numbers],
        "city": [str(rng.choice(["Rome", "Oslo", "Li\u00e8ge"])) for _ in numbers],
        "note": [f"row {i}; a remark, of some length" for i in numbers],
        "nothing": ["" for _ in numbers],
        "always": ["same" for _ in numbers],
        "born": [f"19{i % 60 + 20}-0{i % 9 + 1}-1{(i * 7) % 10}" for i in rng.permutation(rows)],
    }


def counting(groups: list[str], order: np.ndarray, rng: np.random.Generator) -> dict[str, list[str]]:
    """Columns that count the rows of each group, or of all, in an order: from 1 on, downwards, and with gaps."""
    places = pd.Series(np.argsort(np.argsort(order, kind="stable"), kind="stable"))
    within = places.groupby(groups).rank().astype(int)
    ids = 1000 + np.cumsum(rng.integers(1, 5, len(groups)))
    return {
        "step": [str(number) for number in within],
        "left": [str(1000 - number) for number in within],
        "line": [str(ids[place]) for place in places],
    }


@dataclass
class _Draft:
    """Columns on the way to a sheet."""

    rows: int
    rng: np.random.Generator
    separator: str
    cells: dict[str, list[str]] = field(default_factory=dict)
    truth: dict[str, np.ndarray] = field(default_factory=dict)
    left: list[str] = field(default_factory=list)

    def without(self, name: str) -> None:
        """Take out a column that is no input."""
        self.left = [other for other in self.left if other != name]
        self.cells.pop(name, None)

    def with_one_of(self, draw: st.DrawFn, columns: dict[str, list[str]]) -> None:
        """Add a column that is no input, now and then."""
        name = draw(st.sampled_from([None, *columns]))
        if name is not None:
            self.cells[name] = columns[name]
            self.left.append(name)


@st.composite
def drafts(draw: st.DrawFn, rows: int) -> _Draft:
    """Some columns of numbers, and some that are no inputs."""
    draft = _Draft(rows, np.random.default_rng(draw(st.integers(0, 2**32))), draw(st.sampled_from(",;\t|")))
    plain = draw(st.booleans())
    for name in draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=5, unique=True)):
        draft.cells[name], draft.truth[name] = draw(number_columns(rows, plain))
    extra = others(rows, draft.rng)
    draft.left = draw(st.lists(st.sampled_from(sorted(extra)), max_size=4, unique=True))
    draft.cells |= {name: extra[name] for name in draft.left}
    return draft


@st.composite
def finished(
    draw: st.DrawFn, draft: _Draft, target: str, labels: list[str | None] | None, **fields: Any
) -> Sheet:
    """The sheet, in some order of columns and some dress."""
    order = draw(st.permutations(list(draft.cells)))
    extras = draw(st.lists(st.sampled_from(EXTRAS), max_size=2, unique=True))
    return Sheet(
        cells={name: draft.cells[name] for name in order},
        truth=draft.truth,
        target=target,
        labels=labels,
        others=[name or _unnamed(order) for name in draft.left],
        separator=draft.separator,
        quoting=draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL])),
        end=draw(st.sampled_from(["\n", "\r\n"])),
        extras=tuple(extras),
        kind=draw(st.sampled_from(["csv", "csv", "csv", "jsonl", "parquet"])),
        **fields,
    )


def _unnamed(order: list[str]) -> str:
    name = f"Unnamed: {order.index('')}"
    return f"{name}.1" if name in order else name


def some_labels(draw: st.DrawFn, count: int, rng: np.random.Generator) -> list[str | None]:
    """Classes, a few of them missing."""
    labels: list[str | None] = [str(label) for label in rng.choice(draw(st.sampled_from(LABELS)), count)]
    for place in rng.choice(count, draw(st.sampled_from([0, 0, 3])), replace=False):
        labels[place] = None
    if draw(st.booleans()):
        labels.sort(key=str)
    return labels


@st.composite
def sheets(draw: st.DrawFn) -> Sheet:
    """Tables of rows with a label."""
    rows = draw(st.integers(60, 90))
    draft = draw(drafts(rows))
    labels = None
    if draw(st.booleans()):
        labels = some_labels(draw, rows, draft.rng)
        draft.cells["target"] = [label or "" for label in labels]
    else:
        draft.cells["target"], draft.truth["target"] = draw(number_columns(rows, False))
    kind = "regress" if labels is None else "classify"
    return draw(finished(draft, "target", labels, options={"kind": kind}))


@st.composite
def grouped_sheets(draw: st.DrawFn) -> Sheet:
    """Tables of groups of rows with a label each."""
    count = draw(st.integers(30, 40))
    sizes = np.random.default_rng(draw(st.integers(0, 2**32))).integers(1, 6, count)
    rows = int(sizes.sum())
    draft = draw(drafts(rows))
    members = np.repeat(np.arange(count), sizes)
    if draw(st.booleans()):
        draft.rng.shuffle(members)
    names = draw(st.sampled_from([["subject"], ["store", "item"]]))
    keys = {"subject": "s{0}", "store": "{1}", "item": "{2}"}
    draft.cells |= {name: [keys[name].format(i, i // 7, i % 7) for i in members] for name in names}
    draft.without("born")
    draft.with_one_of(draw, counting([str(i) for i in members], np.arange(rows), draft.rng))
    different = draft.rng.choice(draw(st.sampled_from(LABELS)), count)
    draft.cells["target"] = [str(different[i]) for i in members]
    options = {"kind": "classify", "group": names if len(names) > 1 else names[0]}
    labels = list(draft.cells["target"])
    return draw(finished(draft, "target", list(labels), options=options, groups=[str(i) for i in members]))


@st.composite
def series_sheets(draw: st.DrawFn) -> Sheet:
    """Tables of one series or several, with the future's rows at the end now and then."""
    texts, dates, _ = draw(date_columns())
    rows = len(texts)
    copies = pd.Series(texts).groupby(texts).cumcount().to_numpy()
    draft = draw(drafts(rows))
    draft.without("born")
    draft.cells["day"] = texts
    options: dict[str, Any] = {"kind": "forecast", "date": "day"}
    shops = [f"shop {copy}" for copy in copies]
    if copies.any():
        draft.cells["shop"] = shops
        options["group"] = "shop"
    distinct = pd.DataFrame({"shop": shops, "date": dates}).drop_duplicates()
    if len(distinct) == rows and not np.isnat(dates).any():
        columns = counting(shops, dates, draft.rng)
        draft.with_one_of(
            draw, columns if copies.any() else {"step": columns["step"], "left": columns["left"]}
        )
    target = next(iter(draft.truth))
    if draw(st.booleans()):  # the future
        ahead = dates > np.sort(dates[~np.isnat(dates)])[-6]
        draft.cells[target] = ["" if out else cell for cell, out in zip(draft.cells[target], ahead)]
        draft.truth[target] = np.where(ahead, np.nan, draft.truth[target])
    return draw(
        finished(
            draft,
            target,
            None,
            options=options,
            dates=dates,
            groups=shops,
            refusal="date|never change|time steps are too short|with and without %",
        )
    )
