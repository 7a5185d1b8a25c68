"""Tables as tasks."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from anyformer.spelling import option
from anyformer.tasks.base import DataError, Task, check_integer
from anyformer.tasks.columns import columns_named, holds_lists, input_columns
from anyformer.tasks.dates import Dates, read_dates
from anyformer.tasks.encoding import Layout
from anyformer.tasks.forecasting import ForecastTask, Series
from anyformer.tasks.labelled import LabelledTask, check_enough
from anyformer.tasks.labels import has_target, targets_of
from anyformer.tasks.numbers import Convention
from anyformer.tasks.reading import Table
from anyformer.tasks.series import check_repeats, dated_rows, find_step, known_rows, on_grid
from anyformer.tasks.tables import is_text
from anyformer.tasks.text import ByteTask, Document
from anyformer.tasks.timeaxis import as_written, dated_columns, find_axis

LONGEST_TEXT = 512
_LABELS = ("label", "target", "class", "y")


@dataclass(frozen=True)
class Choices:
    """What the user said about a table; see :func:`anyformer.tasks.files.open_data`."""

    targets: list[str] = field(default_factory=list)
    kind: str | None = None
    date: str | Sequence[str] | bool | None = None
    date_format: str | None = None
    dayfirst: bool | None = None
    groups: list[str] = field(default_factory=list)
    text: str | None = None
    keep: list[str] = field(default_factory=list)
    context: int | None = None
    horizon: int | None = None
    length: int | None = None
    convention: Convention = field(default_factory=Convention)
    seed: int = 0

    def layout(self, table: Table, **fields: Any) -> Layout:
        """How the table was read, for new ones."""
        said = self.convention
        missing = None if said.missing is None else sorted(said.missing)
        return Layout(
            **fields, decimal=said.decimal, thousands=said.thousands, missing=missing, likely=table.decimal
        )

    def refuse(self, what: str, *names: str) -> None:
        """``ValueError`` where an option was given that does nothing for such data."""
        for name in names:
            value = getattr(self, name)
            if value not in (None, []):
                name = name.removesuffix("s") if name == "groups" else name
                raise ValueError(f"{option(name)} does not apply to {what}, got {value!r}")


def open_frame(table: Table, given: dict[str, Any]) -> Task:
    """The task that a table makes of what the user said about it."""
    path, frame = table.path, table.frame
    if frame.empty:
        raise DataError(f"{path} has columns ({', '.join(frame.columns[:5])}) and no rows")
    dropped = columns_named(table, given.pop("drop"), "drop")
    choices = Choices(
        targets=columns_named(table, given.pop("target"), "target"),
        groups=columns_named(table, given.pop("group"), "group"),
        keep=columns_named(table, given.pop("keep"), "keep"),
        **given,
    )
    for name in [choices.text] if choices.text else []:
        columns_named(table, [name], "text")
    asked = {
        *choices.targets,
        *choices.groups,
        *dated_columns(frame, choices.date),
        choices.text,
        *choices.keep,
    }
    for name in dropped:
        if name in asked:
            raise ValueError(f"{option('drop')} leaves out {name!r}, which is asked for elsewhere")
    remarks = list(table.remarks)
    if dropped:
        remarks.append(f"left out: {', '.join(map(repr, dropped))}, as was asked")
    table = replace(table, frame=frame.drop(columns=dropped))
    table = _single_values(table, choices, asked, remarks)
    dated = None
    groups = group_keys(table, choices.groups)
    if choices.date is not None or choices.kind in (None, "forecast"):
        dated = find_axis(
            path,
            as_written(table).drop(columns=[*choices.targets, *choices.groups]),
            choices.date,
            groups=groups if choices.groups else None,
            date_format=choices.date_format,
            dayfirst=choices.dayfirst,
            remarks=remarks,
        )
    by_group = bool(choices.groups) and _constant_in_groups(table, choices, groups)
    if choices.kind == "forecast" or (choices.kind is None and dated is not None and not by_group):
        choices.refuse("forecasts", "text", "length")
        if choices.kind is None:
            kinds = f"{option('kind', 'classify')} or {option('kind', 'regress')}"
            remarks.append(f"a table with dates is forecast; give {kinds} to predict each row")
        return _open_series(table, choices, groups, dated, remarks)
    choices.refuse("rows that are classified or regressed", "context", "horizon")
    if not choices.targets:
        choices, alone = _guess_target(table, choices, remarks)
        if alone is not None:
            return _open_texts(table, alone, choices, remarks)
    if choices.groups:
        choices.refuse("groups of rows", "text")
        if not _constant_in_groups(table, choices, groups):
            raise DataError(
                f"{path}: {choices.targets[0]!r} changes within groups of {', '.join(map(repr, choices.groups))}; "
                "a label must be the same in all rows of a group (name the date column to forecast instead)"
            )
        return _open_groups(table, choices, groups, dated, remarks)
    return _open_rows(table, choices, dated, remarks)


def group_keys(table: Table, names: list[str]) -> pd.Series:
    """What tells each row's series apart, as text; missing where one of these columns is."""
    if not names:
        return pd.Series("", index=table.frame.index)
    keys = pd.concat([table.keys(name).rename(str(i)) for i, name in enumerate(names)], axis=1)
    known = keys.notna().all(axis=1)
    if len(names) == 1:
        return keys["0"].map(str).where(known)
    texts = keys.astype(str).agg(" / ".join, axis=1)
    if texts.nunique() < len(keys.drop_duplicates()):
        texts = keys.apply(lambda row: repr(tuple(row)), axis=1)
    return texts.where(known)


def _single_values(table: Table, choices: Choices, asked: set[str | None], remarks: list[str]) -> Table:
    """The table without columns of lists or objects; ``DataError`` where one of them was asked for."""
    frame = table.frame
    for name in [name for name in frame.columns if holds_lists(frame[name])]:
        if name in asked or (not choices.targets and name.lower() in _LABELS):
            raise DataError(
                f"{table.path}: column {name!r} holds lists or objects; a single value a row is needed"
            )
        remarks.append(f"left out: {name!r}, which holds lists or objects")
        frame = frame.drop(columns=name)
    return replace(table, frame=frame)


def _constant_in_groups(table: Table, choices: Choices, groups: pd.Series) -> bool:
    if not choices.targets:
        return False
    targets = pd.DataFrame({name: table.keys(name) for name in choices.targets})
    different = targets.groupby(groups)[choices.targets].nunique()
    return bool((different <= 1).all().all()) and len(different) < len(table.frame)


def _guess_target(table: Table, choices: Choices, remarks: list[str]) -> tuple[Choices, str | None]:
    """The choices with a target that goes by a usual name; or the column of text where there is nothing else."""
    frame = table.frame
    for name in frame.columns:
        if name.lower() in _LABELS:
            remarks.append(f"target not given: taken to be {name!r}")
            return replace(choices, targets=[name]), None
    texts = [name for name in frame.columns if is_text(frame[name])]
    if choices.text is not None or len(texts) == 1 == len(frame.columns) or "text" in frame.columns:
        return choices, choices.text or ("text" if "text" in frame.columns else texts[0])
    raise DataError(
        f"{table.path}: {option('target')} must name the column to predict, one of "
        f"{', '.join(map(repr, frame.columns))}"
    )


def _open_texts(table: Table, name: str, choices: Choices, remarks: list[str]) -> ByteTask:
    choices.refuse("text without a label", "groups", "keep", "date")
    others = [repr(other) for other in table.frame.columns if other != name]
    if others:
        remarks.append(
            f"left out: {', '.join(others)}, as the text of {name!r} alone is modelled; {option('target', 'NAME')} "
            "names a column to predict"
        )
    column = table.frame[name]
    documents = [Document(f"record {i}", str(text).encode()) for i, text in column.dropna().items()]
    if column.isna().any():
        remarks.append(f"{int(column.isna().sum())} rows have no {name!r} and are left out")
    title = f"Predict the next byte of {table.path.name}."
    return ByteTask(
        documents,
        name=table.path.stem,
        title=title,
        length=choices.length,
        seed=choices.seed,
        remarks=remarks,
    )


# ------------------------------------------------------------------------------------------------- series


def _open_series(
    table: Table, choices: Choices, groups: pd.Series, dated: Dates | None, remarks: list[str]
) -> ForecastTask:
    path, targets = table.path, choices.targets
    used = {*choices.groups, *(dated.reading.columns if dated else ())}
    for name in targets:
        _check_target(table, name, used)
    for name in choices.groups:
        remarks.extend(
            table.notes.get(name, []) if name in table.written and table.numbers(name) is None else []
        )
    notes = list[str]()
    keep = [*choices.keep, *targets]
    columns = input_columns(table, used, keep, notes)
    if not columns:
        raise DataError(f"{path} has no numeric column to forecast{_reasons(notes)}")
    remarks.extend(notes)
    numbers = pd.DataFrame({name: table.numbers(name) for name in columns})
    if not targets:
        targets = _varied(numbers, remarks)
        if not targets:
            raise DataError(f"{path}: no numeric column changes: nothing to forecast{_reasons(notes)}")
        remarks.append(f"target not given: all {len(targets)} numeric columns are forecast")
    numbers = numbers[
        known_rows(numbers, None if dated is None else dated.instants, groups, targets, remarks)
    ]
    _note_missing(
        numbers,
        "as input they repeat the last known value and are marked, as targets they do not count",
        remarks,
    )
    groups = groups[numbers.index]
    if dated is None:
        remarks.append("no column of dates: rows are taken in order, one step each")
        parts = [Series(numbers[groups == g].to_numpy(), 0, str(g)) for g in groups.dropna().unique()]
        facts: dict[str, Any] = {"rows": len(table.frame), "step": "1 row"}
        seasons = list(range(2, min(400, len(numbers) // 3)))
        step = None
    else:
        numbers, dates, groups = dated_rows(numbers, dated, groups, remarks)
        check_repeats(path, table.frame.loc[numbers.index], dates, groups, dated.name)
        step, regular, dated = find_step(path, dated, groups)
        if not regular:
            remarks.append(f"dates in {dated.name!r} are irregular: values are averaged over steps of {step}")
        parts, facts = on_grid(numbers, dated, groups, step, remarks)
        facts["rows"] = len(table.frame)
        seasons = step.seasons() or list(range(2, 25))
    group = choices.groups[0] if len(choices.groups) == 1 else choices.groups or None
    layout = choices.layout(table, kind="series", columns=columns, group=group, step=step, **_reading(dated))
    return ForecastTask(
        parts,
        columns,
        targets,
        name=path.stem,
        context=choices.context,
        horizon=choices.horizon,
        seasons=seasons,
        layout=layout,
        seed=choices.seed,
        facts={**facts, "series": len({part.name for part in parts})},
        remarks=remarks,
    )


def _reading(dated: Dates | None) -> dict[str, Any]:
    """The layout's fields of dates."""
    return {} if dated is None else {"date": dated.reading.columns[0], "reading": dated.reading}


def _check_target(table: Table, name: str, used: set[str]) -> None:
    """``DataError`` where a column cannot be forecast."""
    what = f"{option('target')}: column {name!r} of {table.path}"
    if name in used:
        raise DataError(f"{what} is also the date or group")
    values = table.numbers(name)
    if values is None:
        why = table.refusals.get(name) or f"is not numeric (it holds {table.shown(name)})"
        raise DataError(
            f"{what} {why}; a forecast needs numbers: give {option('kind', 'classify')} to classify rows"
        )
    if values.isna().all():
        raise DataError(f"{what} holds no number at all{_reasons(table.notes.get(name, []))}")
    if values.nunique() == 1:
        raise DataError(f"{what} is {values.dropna().iloc[0]:.15g} in all rows: nothing to forecast")


def _varied(numbers: pd.DataFrame, remarks: list[str]) -> list[str]:
    """The columns whose numbers change."""
    same = [str(name) for name in numbers.columns if numbers[name].nunique() < 2]
    if same:
        remarks.append(f"{', '.join(map(repr, same))} never change and are not forecast")
    return [str(name) for name in numbers.columns if name not in same]


def _reasons(notes: list[str]) -> str:
    return f" ({'; '.join(notes)})" if notes else ""


def _note_missing(table: pd.DataFrame, done: str, remarks: list[str]) -> None:
    """One remark that counts the missing values by column and says what is done about them."""
    counts = {str(name): int(gone) for name, gone in table.isna().sum().items() if gone}
    if counts:
        total = sum(counts.values())
        columns = ", ".join(f"{name!r} ({gone})" for name, gone in counts.items())
        share = 100 * total / table.size
        remarks.append(f"{total} of {table.size} values are missing ({share:.1f} %), in {columns}; {done}")


# --------------------------------------------------------------------------------------------- labelled


def _features(
    table: Table, used: set[str], choices: Choices, labels: pd.Series, remarks: list[str], *, text: bool
) -> tuple[list[str], np.ndarray]:
    """Names and values ``(rows, columns)`` of the inputs, NaN where a value is missing; none where none is usable."""
    names = input_columns(table, used, choices.keep, remarks, labels=labels.to_numpy(np.float64), text=text)
    if not names:
        return [], np.empty((len(table.frame), 0))
    values = pd.DataFrame({name: table.numbers(name) for name in names})
    _note_missing(values, "they are set to the mean and marked", remarks)
    for name in names:
        low, high = values[name].quantile([0.05, 0.95])
        if low < high and high - low < 1e-6 * values[name].std():
            remarks.append(
                f"{name!r} has values so large (up to {values[name].abs().max():.3g}) that the others look the same "
                f"beside them; {option('drop', name)} leaves it out"
            )
    return names, values.to_numpy()


def _label_order(table: Table, targets: list[str]) -> pd.Series:
    """The first target as numbers in the order of rows, to see what tells it by order alone; NaN where missing."""
    numbers = table.numbers(targets[0])
    if numbers is not None:
        return numbers
    codes = pd.factorize(table.keys(targets[0]))[0].astype(np.float64)
    return pd.Series(np.where(codes < 0, np.nan, codes), table.frame.index)


def _open_rows(table: Table, choices: Choices, dated: Dates | None, remarks: list[str]) -> LabelledTask:
    """Each row a sequence: of the bytes of its text, or of its numeric columns from left to right."""
    used = {*choices.targets, *(dated.reading.columns if dated else ())}
    if dated is not None:
        remarks.append(f"left out: {dated.name!r}, the date, as each row is a sequence of its own")
    known = has_target(table, choices.targets, choices.kind, remarks)
    table = replace(table, frame=table.frame[known])
    check_enough(table.path.stem, len(table.frame))
    y, classes = targets_of(table, choices.targets, choices.kind, remarks)
    shared: dict[str, Any] = {
        "name": table.path.stem,
        "classes": classes,
        "values": choices.targets,
        "seed": choices.seed,
    }
    notes = list[str]()
    text = choices.text or ("text" if _is_written(table, "text", used) else None)
    names = list[str]()
    if text is None:
        labels = _label_order(table, choices.targets)
        names, values = _features(table, used, choices, labels, notes, text=True)
    if not names:
        text = text or _only_text(table, used, notes)
        return _rows_of_text(table, text, choices, y, shared, remarks)
    choices.refuse("columns of numbers", "length")
    remarks.extend(notes)
    facts = {"rows": len(table.frame), "columns": names}
    layout = choices.layout(table, kind="columns", columns=names)
    return LabelledTask(
        values[..., None], y, by_place=True, layout=layout, facts=facts, remarks=remarks, **shared
    )


def _rows_of_text(
    table: Table, text: str, choices: Choices, y: np.ndarray, shared: dict[str, Any], remarks: list[str]
) -> LabelledTask:
    choices.refuse(f"rows that are read as the text of {text!r}", "keep")
    others = [repr(name) for name in table.frame.columns if name != text and name not in choices.targets]
    if others:
        remarks.append(
            f"left out: {', '.join(others)}, as rows are read as the text of {text!r} alone; "
            f"{option('drop', text)} reads numbers instead"
        )
    remarks.append(f"{text!r} is read as the bytes of its text")
    remarks.extend(table.notes.get(text, []) if table.numbers(text) is None else [])
    column = table.frame[text] if is_text(table.frame[text]) else table.keys(text)
    x, mask = bytes_of(column, choices.length, remarks)
    facts = {"rows": len(table.frame), "text": text}
    layout = choices.layout(table, kind="text", text=text, length=x.shape[1])
    return LabelledTask(
        x, y, mask=mask, vocab_size=256, layout=layout, facts=facts, remarks=remarks, **shared
    )


def _is_written(table: Table, name: str, used: set[str]) -> bool:
    """Whether there is a column of this name that holds texts, neither dates nor names of rows."""
    if name not in table.frame.columns or name in used:
        return False
    column = table.frame[name].dropna()
    return (
        is_text(column)
        and pd.api.types.infer_dtype(column) == "string"
        and read_dates(table.frame, [name]) is None
        and column.nunique() > 0.2 * len(column)
        and column.str.fullmatch(_TEXT_ID).mean() < 0.95
    )


_TEXT_ID = re.compile(
    r"\s*([A-Za-z]{0,6}[-_# ]?[0-9]+|[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|[0-9a-f]{16,})\s*"
)


def _only_text(table: Table, used: set[str], notes: list[str]) -> str:
    """The one column of texts; ``DataError`` where there is none, or several."""
    texts = [str(name) for name in table.frame.columns if _is_written(table, str(name), used)]
    if len(texts) == 1:
        return texts[0]
    if texts:
        named = " or ".join(option("text", name) for name in texts[:3])
        raise DataError(
            f"{table.path} has no numeric column besides the target, and {len(texts)} of text: give {named}"
        )
    raise DataError(f"{table.path} has no numeric column besides the target{_reasons(notes)}")


def bytes_of(column: pd.Series, length: int | None, remarks: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Bytes ``(N, T)`` of texts, cut or padded, and the mask of those that are real."""
    texts = [b"" if pd.isna(text) else str(text).encode() for text in column]
    empty = sum(not text for text in texts)
    if empty:
        remarks.append(f"{empty} texts in {column.name!r} are empty; each is read as one space")
    texts = [text or b" " for text in texts]
    sizes = np.array([len(text) for text in texts])
    if length is None:
        length = int(min(LONGEST_TEXT, sizes.max()))
    check_integer("length", length, low=1)
    cut = int((sizes > length).sum())
    if cut:
        remarks.append(f"{cut} of {len(texts)} texts are longer than {length} bytes and cut there")
    x = np.zeros((len(texts), length), np.uint8)
    for row, text in enumerate(texts):
        x[row, : len(text)] = np.frombuffer(text[:length], np.uint8)
    return x, np.arange(length)[None] < np.minimum(sizes, length)[:, None]


def _open_groups(
    table: Table, choices: Choices, groups: pd.Series, dated: Dates | None, remarks: list[str]
) -> LabelledTask:
    """Each group a sequence of its rows, by date where there is one."""
    used = {*choices.targets, *choices.groups, *(dated.reading.columns if dated else ())}
    known = has_target(table, choices.targets, choices.kind, remarks)
    if groups[known].isna().any():
        remarks.append(f"{int(groups[known].isna().sum())} rows have no group and are left out")
    order = table.frame.index[known & groups.notna()]
    table = replace(table, frame=table.frame.loc[order])
    labels = _label_order(table, choices.targets)
    notes = list[str]()
    names, values = _features(table, used, choices, labels, notes, text=False)
    if not names:
        raise DataError(
            f"{table.path} has no numeric column besides the target and the group{_reasons(notes)}"
        )
    remarks.extend(notes)
    if dated is not None:
        places = np.argsort(dated.instants[order].to_numpy(), kind="stable")
        order, values = order[places], values[places]
    codes, different = pd.factorize(groups[order])
    firsts = order[[int(np.argmax(codes == code)) for code in range(len(different))]]
    y, classes = targets_of(
        replace(table, frame=table.frame.loc[firsts]), choices.targets, choices.kind, remarks
    )
    length = int(choices.length or min(np.bincount(codes).max(), 4096))
    check_integer("length", length, low=1)
    x, mask = rows_of_groups(codes, values, length, remarks)
    group = choices.groups[0] if len(choices.groups) == 1 else choices.groups
    layout = choices.layout(
        table, kind="groups", columns=names, group=group, length=length, **_reading(dated)
    )
    facts = {"rows": len(order), "groups": len(different), "columns": names}
    return LabelledTask(
        x, y, mask=mask, name=table.path.stem, classes=classes, values=choices.targets, layout=layout,
        seed=choices.seed, facts=facts, remarks=remarks,
    )  # fmt: skip


def rows_of_groups(
    codes: np.ndarray, values: np.ndarray, length: int, remarks: list[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Values ``(rows, F)`` of each group ``(N, T, F)``, cut or padded to ``length``, and the mask of what is real."""
    sizes = np.bincount(codes[codes >= 0])
    if sizes.max() > length:
        remarks.append(f"{int((sizes > length).sum())} groups have more than {length} rows and are cut there")
    x = np.zeros((len(sizes), length, values.shape[1]))
    for code in range(len(sizes)):
        rows = values[codes == code][:length]
        x[code, : len(rows)] = rows
    return x, np.arange(length)[None] < np.minimum(sizes, length)[:, None]
