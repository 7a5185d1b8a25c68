"""Tables: series to be forecast, rows and groups of rows with a label, events whose next item is asked, texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from anyformer.errors import DataError
from anyformer.spelling import option
from anyformer.tables.arrowfolders import is_arrow_folder
from anyformer.tables.files import READ, read_table
from anyformer.tables.formats import REFUSED, refused
from anyformer.tables.numbercells import Convention
from anyformer.tables.packed import suffix_of
from anyformer.tasks.base import Split, Task
from anyformer.tasks.choices import check_kind
from anyformer.tasks.event_encoding import EventEncoding
from anyformer.tasks.forecast_encoding import ForecastEncoding
from anyformer.tasks.frames import open_frame
from anyformer.tasks.graphs.tables import edges_of
from anyformer.tasks.pair_encoding import PairEncoding
from anyformer.tasks.readers import register_reader
from anyformer.tasks.readers._base import Reader
from anyformer.tasks.splits import COLUMN, check_splits, with_files
from anyformer.tasks.table_encoding import TableEncoding

KINDS = ("forecast", "classify", "regress", "labels", "next", "translate")


@register_reader("tables")
class Tables(Reader):
    """Rows: CSV, TSV, Parquet and JSONL files, and folders of Hugging Face's ``datasets``."""

    title = "tables"
    files = ("valid", "test", "tokenizer")
    rank = -1
    encodings = (TableEncoding, ForecastEncoding, EventEncoding, PairEncoding)
    sections = {
        "tables that are forecast": (
            *("context", "horizon", "quantiles", "known", "calendar", "reach_back"),
            *("split", "valid", "test"),
        ),
        "tables whose rows or groups are classified or regressed": (
            "text",
            "tokenizer",
            "length",
            "ordered",
            "split",
            "valid",
            "test",
        ),
        "tables whose next item is asked": ("length", "holdout", "only_new", "split", "valid", "test"),
        "tables of pairs of texts": ("text", "length", "split", "valid", "test"),
    }

    @classmethod
    def takes(cls, path: Path) -> bool:
        """True for files with the suffix of a table, those that are not read included; and folders of ``datasets``."""
        return is_arrow_folder(path) or (path.is_file() and suffix_of(path) in {*READ, *REFUSED})

    @staticmethod
    def open(
        path: Path,
        target: str | Sequence[str] | None = None,
        *,
        kind: Literal["forecast", "classify", "regress", "labels", "next", "translate"] | None = None,
        date: str | Sequence[str] | None = None,
        date_format: str | None = None,
        dayfirst: bool | None = None,
        tz: str | None = None,
        group: str | Sequence[str] | None = None,
        text: str | None = None,
        tokenizer: str | None = None,
        keep: str | Sequence[str] | None = None,
        category: str | Sequence[str] | None = None,
        drop: str | Sequence[str] | None = None,
        context: int | None = None,
        horizon: int | None = None,
        quantiles: float | Sequence[float] | None = None,
        known: str | Sequence[str] | None = None,
        calendar: bool | None = None,
        reach_back: bool | None = None,
        length: int | None = None,
        ordered: bool | None = None,
        class_weights: Literal["balanced"] | None = None,
        holdout: Literal["time", "last"] | None = None,
        only_new: bool | None = None,
        split: str | None = None,
        valid: str | None = None,
        test: str | None = None,
        decimal: str | None = None,
        thousands: str | None = None,
        missing: str | Sequence[str] | None = None,
        seed: int = 0,
    ) -> Task:
        """Return the task made from a table.

        Args:
            path: the data.
            target: the column to predict, or several columns of numbers.
            kind: ``"forecast"``, ``"classify"`` or ``"regress"``, chosen from the data where not given; ``"labels"``:
                any number of labels a row, in a column of lists or several columns of 0 and 1; ``"next"``: the target
                of each group's next row; or ``"translate"``: the text of the target from that of another column.
            date: the column of dates, or the columns that make up a date; found where not given; ``"none"`` if there is
                none.
            date_format: how dates are written, as for ``strftime`` (see :mod:`anyformer.dates.style`), or ``excel``,
                ``unix_s``, ``unix_ms``, ``unix_us``, ``unix_ns`` for numbers; found where not given.
            dayfirst: whether 3/4 is in April, where the dates do not tell.
            tz: the time zone whose clocks the dates were read on, where they have none, as ``Europe/Berlin``: an hour
                that clocks skip or show twice is then neither a gap nor a repetition.
            group: the column, or columns, whose values identify series, or sequences in long format.
            text: the column of text; found where there are no columns of numbers.
            tokenizer: a file tokenizer.json of Hugging Face, by whose tokens texts are read in place of bytes.
            keep: columns of numbers that are inputs although they look like row numbers or ids.
            category: columns to read as categories, such as codes written as numbers; texts that repeat are found.
            drop: columns to leave out.
            context, horizon: of a forecast, in steps.
            quantiles: levels of quantiles to forecast in place of values, as 0.1, 0.5, 0.9.
            known: columns that are known of the future too, such as promotions that are planned; predictions need them
                in rows after the last known value of the target.
            calendar: take the hour of the day, the day of the week and the day of the year for inputs, known ahead.
            reach_back: let the window before a forecast of a split lie in the split before, as is usual in published
                comparisons; by default only where windows would else be shorter than the season or the horizon.
            length: bytes, or tokens, in a window of text, or the most taken of each text, or rows of each group.
            ordered: read the columns of numbers of a row as a series, in their order; by default where there are nine
                or more and their names count up, as t1, t2, t3. Otherwise each is a column of its own.
            class_weights: "balanced" weighs the loss of each class by the inverse of its frequency in training.
            holdout: the events that are asked in validation and test: ``"time"``, those after two moments, by default
                where there are dates; or ``"last"``, the last two of each group.
            only_new: ask for, rank and tell the items alone that the group has not had before.
            split: the column that says of each row, or group, whether it is train, valid or test. Of forecasts also
                dates, as 2017-06-26,2017-10-24: where validation begins, where test begins and, on demand, where it
                ends; or numbers of rows where there are no dates.
            valid, test: files with the rows, or groups, of these splits; the data is then for training.
            decimal: the decimal mark of numbers, "." or ","; found where not given.
            thousands: the thousands separator, one of ``, . '`` and a blank, or "" for none; found where not given.
            missing: texts that stand for a missing value, instead of NA, null, None and the like; "" for empty cells
                only.
            seed: fixes the split and the order of training.

        Raises:
            DataError: the data cannot be used; one sentence names the file, what is wrong and where.
        """
        check_kind(kind, KINDS)
        if class_weights not in (None, "balanced"):
            raise ValueError(f"{option('class_weights')} must be 'balanced', got {class_weights!r}")
        if path.is_file() and suffix_of(path) in REFUSED:
            raise DataError(f"{path}: {suffix_of(path)} files are not read: {refused(path)}")
        marks = frozenset([""]) if kind == "translate" else None  # words such as null are texts
        if missing is not None:
            marks = frozenset([missing] if isinstance(missing, str) else map(str, missing))
        convention = Convention(decimal, thousands, marks)
        said = {
            "target": target, "kind": kind, "date": date, "date_format": date_format, "dayfirst": dayfirst, "tz": tz,
            "group": group, "text": text, "tokenizer": tokenizer,
            "keep": keep, "category": category, "drop": drop, "context": context,
            "horizon": horizon, "length": length, "ordered": ordered,
            "class_weights": class_weights, "holdout": holdout, "only_new": only_new or None,
            "known": known, "calendar": calendar, "reach_back": reach_back,
            "quantiles": [quantiles] if isinstance(quantiles, int | float) else quantiles,
        }  # fmt: skip
        files: dict[Split, str | None] = {"valid": valid, "test": test}
        check_splits(split, files, path)
        table = read_table(path, convention, splits=True)
        if (edges := edges_of(path)) is not None:
            told = f"{edges.name} lies beside it: {option('edges', edges.name)} reads both as a graph"
            table = replace(table, remarks=[*table.remarks, told])
        if test is not None:
            table = with_files(replace(table, convention=convention), files)
        if test is not None or (is_arrow_folder(path) and COLUMN in table.frame.columns):
            split = COLUMN
        found = open_frame(table, {**said, "split": split, "convention": convention, "seed": seed})
        del table
        return found if isinstance(found, Task) else found()
