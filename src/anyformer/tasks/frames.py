"""Tables and arrays as tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from anyformer.tasks.base import DataError, Task, check_integer
from anyformer.tasks.dates import Dates
from anyformer.tasks.encoding import Layout
from anyformer.tasks.forecasting import ForecastTask, Series
from anyformer.tasks.labelled import LabelledTask
from anyformer.tasks.series import check_repeats, dated_rows, find_step, on_grid
from anyformer.tasks.tables import check_column, is_text, to_numbers
from anyformer.tasks.text import ByteTask, Document
from anyformer.tasks.timeaxis import dated_columns, find_axis

LONGEST_TEXT = 512
_LABELS = ("label", "target", "class", "y")


@dataclass(frozen=True)
class Choices:
    """What the user said about a table; see :func:`anyformer.tasks.files.open_data`."""

    targets: list[str]
    kind: str | None
    date: str | Sequence[str] | bool | None
    group: str | None
    text: str | None
    context: int | None
    horizon: int | None
    length: int | None
    seed: int
    date_format: str | None = None
    dayfirst: bool | None = None


def open_frame(path: Path, frame: pd.DataFrame, choices: Choices) -> Task:
    """The task that a table makes."""
    if frame.empty:
        raise DataError(f"{path} has columns ({', '.join(frame.columns[:5])}) and no rows")
    for target in choices.targets:
        check_column(path, frame, target, "target")
    if len(set(choices.targets)) < len(choices.targets):
        raise DataError(f"target: a column is named twice in {choices.targets}")
    for argument in ("group", "text"):
        name = getattr(choices, argument)
        if name is not None:
            check_column(path, frame, name, argument)
    remarks: list[str] = []
    frame = _without_row_numbers(frame, remarks)
    frame = _single_values(path, frame, choices, remarks)
    dated = None
    if choices.date is not None or choices.kind in (None, "forecast"):
        dated = find_axis(
            path,
            frame.drop(columns=choices.targets),
            choices.date,
            group=choices.group,
            date_format=choices.date_format,
            dayfirst=choices.dayfirst,
            remarks=remarks,
        )
    by_group = choices.group is not None and _constant_in_groups(frame, choices)
    if choices.kind == "forecast" or (choices.kind is None and dated is not None and not by_group):
        if choices.kind is None:
            remarks.append(
                "a table with dates is forecast; give kind='classify' or kind='regress' to predict each row"
            )
        return _open_series(path, frame, choices, dated, remarks)
    if not choices.targets:
        choices, alone = _guess_target(path, frame, choices, remarks)
        if alone is not None:
            return _open_texts(path, frame[alone], choices)
    if choices.group is not None:
        if not by_group:
            raise DataError(
                f"{path}: {choices.targets[0]!r} changes within groups of {choices.group!r}; a label must be the same "
                f"in all rows of a group (name the date column to forecast instead)"
            )
        return _open_groups(path, frame, choices, dated, remarks)
    return _open_rows(path, frame, choices, remarks)


def _without_row_numbers(frame: pd.DataFrame, remarks: list[str]) -> pd.DataFrame:
    """The table without the index that pandas writes: it tells the order of the rows, which may tell the label."""
    for name in frame.columns:
        if name.startswith("Unnamed:") and np.array_equal(frame[name], np.arange(len(frame))):
            remarks.append("a column without a name that counts the rows is left out")
            return frame.drop(columns=name)
    return frame


def _single_values(path: Path, frame: pd.DataFrame, choices: Choices, remarks: list[str]) -> pd.DataFrame:
    """The table without columns of lists or objects; ``DataError`` where one of them was asked for."""
    asked = {*choices.targets, *dated_columns(frame, choices.date), choices.group, choices.text}
    for name in [name for name in frame.columns if pd.api.types.is_object_dtype(frame[name])]:
        if frame[name].map(lambda value: isinstance(value, list | dict | np.ndarray)).any():
            if name in asked or (not choices.targets and name.lower() in _LABELS):
                raise DataError(
                    f"{path}: column {name!r} holds lists or objects; a single value a row is needed"
                )
            remarks.append(f"column {name!r} holds lists or objects and is left out")
            frame = frame.drop(columns=name)
    return frame


def _constant_in_groups(frame: pd.DataFrame, choices: Choices) -> bool:
    if not choices.targets:
        return False
    different = frame.groupby(choices.group)[choices.targets].nunique(dropna=False)
    return bool((different <= 1).all().all()) and len(different) < len(frame)


def _guess_target(
    path: Path, frame: pd.DataFrame, choices: Choices, remarks: list[str]
) -> tuple[Choices, str | None]:
    """The choices with a target that goes by a usual name; or the column of text where there is nothing else."""
    for name in frame.columns:
        if name.lower() in _LABELS:
            remarks.append(f"target not given: taken to be {name!r}")
            return Choices(**{**vars(choices), "targets": [name]}), None
    texts = [name for name in frame.columns if is_text(frame[name])]
    if choices.text is not None or len(texts) == 1 == len(frame.columns) or "text" in frame.columns:
        return choices, choices.text or ("text" if "text" in frame.columns else texts[0])
    raise DataError(
        f"{path}: target must name the column to predict, one of {', '.join(map(repr, frame.columns))}"
    )


def _open_texts(path: Path, column: pd.Series, choices: Choices) -> ByteTask:
    documents = [Document(f"record {i}", str(text).encode()) for i, text in column.dropna().items()]
    title = f"Predict the next byte of {path.name}."
    return ByteTask(documents, name=path.stem, title=title, length=choices.length, seed=choices.seed)


# ------------------------------------------------------------------------------------------------- series


def _numeric_columns(
    path: Path, frame: pd.DataFrame, choices: Choices, left_out: set[str | None], remarks: list[str]
) -> dict[str, pd.Series]:
    """The columns that hold numbers; ``DataError`` where a target does not, or none does."""
    numbers: dict[str, pd.Series] = {}
    for name in frame.columns:
        if name in left_out:
            continue
        read = to_numbers(frame[name])
        if read is None and name in choices.targets:
            shown = frame[name].dropna()
            held = repr(shown.tolist()[0]) if len(shown) else "nothing"
            raise DataError(
                f"target: column {name!r} of {path} is not numeric (it holds {held}); a forecast needs numbers"
                + ("; give kind='classify' to classify rows" if choices.kind is None and len(shown) else "")
            )
        if read is None:
            remarks.append(f"column {name!r} is not numeric and left out")
        elif read[0].notna().any() or name in choices.targets:
            numbers[name] = read[0]
            remarks.extend([read[1]] if read[1] else [])
        else:
            remarks.append(f"column {name!r} is empty and left out")
    for target in choices.targets:
        if target in left_out:
            raise DataError(f"target: column {target!r} of {path} is also the date or group")
    if not numbers:
        raise DataError(f"{path} has no numeric column to forecast")
    return numbers


def _open_series(
    path: Path, frame: pd.DataFrame, choices: Choices, dated: Dates | None, remarks: list[str]
) -> ForecastTask:
    left_out = {choices.group, *(dated.reading.columns if dated else ())}
    numbers = _numeric_columns(path, frame, choices, left_out, remarks)
    targets = choices.targets or list(numbers)
    if not choices.targets:
        remarks.append(f"target not given: all {len(targets)} numeric columns are forecast")
    table = pd.DataFrame(numbers)
    _note_missing(
        table,
        "as input they repeat the last known value and are marked, as targets they do not count",
        remarks,
    )
    groups = frame[choices.group] if choices.group else pd.Series("", index=frame.index)
    if dated is None:
        remarks.append("no column of dates: rows are taken in order, one step each")
        parts = [Series(table[groups == g].to_numpy(), 0, str(g)) for g in groups.dropna().unique()]
        facts: dict[str, Any] = {"rows": len(frame), "step": "1 row"}
        seasons = list(range(2, min(400, len(frame) // 3)))
        step = None
    else:
        table, dates, groups = dated_rows(table, dated, groups, remarks)
        check_repeats(path, frame.loc[table.index], dates, groups, dated.name)
        step, regular, dated = find_step(path, dated, groups)
        if not regular:
            remarks.append(f"dates in {dated.name!r} are irregular: values are averaged over steps of {step}")
        parts, facts = on_grid(table, dated, groups, step, remarks)
        facts["rows"] = len(frame)
        seasons = step.seasons() or list(range(2, 25))
    layout = Layout(
        kind="series",
        columns=list(numbers),
        group=choices.group,
        date=dated.reading.columns[0] if dated else None,
        reading=dated.reading if dated else None,
        step=step,
    )
    return ForecastTask(
        parts,
        list(numbers),
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


def _note_missing(table: pd.DataFrame, done: str, remarks: list[str]) -> None:
    """One remark that counts the missing values by column and says what is done about them."""
    counts = {str(name): int(gone) for name, gone in table.isna().sum().items() if gone}
    if counts:
        total = sum(counts.values())
        columns = ", ".join(f"{name!r} ({gone})" for name, gone in counts.items())
        share = 100 * total / table.size
        remarks.append(f"{total} of {table.size} values are missing ({share:.1f} %), in {columns}; {done}")


# --------------------------------------------------------------------------------------------- labelled


def _labels(
    path: Path, frame: pd.DataFrame, choices: Choices, remarks: list[str]
) -> tuple[np.ndarray, list[str] | None]:
    """Targets as class numbers with their names, or as floats ``(N, M)`` and None; says which, and why."""
    columns = [frame[name] for name in choices.targets]
    if len(columns) > 1 or choices.kind == "regress":
        read = [to_numbers(column) for column in columns]
        for column, one in zip(columns, read):
            if one is None:
                raise DataError(
                    f"target: column {column.name!r} of {path} is not numeric; regression needs numbers"
                )
        return np.stack([one[0].to_numpy() for one in read if one is not None], 1), None
    column = columns[0]
    different = column.nunique()
    numeric = not is_text(column) and not pd.api.types.is_bool_dtype(column)
    if choices.kind is None and numeric:
        values = column.to_numpy(dtype=np.float64)
        if not np.equal(values, np.round(values)).all() or different > max(2, min(20, len(column) // 10)):
            remarks.append(f"target {column.name!r} is numeric with {different} different values: regression")
            return values[:, None], None
    if different > 2 and different > 0.5 * len(column):
        raise DataError(
            f"target: column {column.name!r} of {path} has {different} different values in {len(column)} rows; a class "
            "must repeat"
        )
    remarks.append(f"target {column.name!r} has {different} different values: classification")
    if numeric and np.equal(column, np.round(column)).all():
        column = column.astype("int64")
    codes, names = pd.factorize(column, sort=True)
    return codes.astype(np.int64), [str(name) for name in names]


def _with_target(frame: pd.DataFrame, choices: Choices, remarks: list[str]) -> pd.DataFrame:
    gone = frame[choices.targets].replace([np.inf, -np.inf], np.nan).isna().any(axis=1)
    if choices.kind == "regress":
        read = [to_numbers(frame[name]) for name in choices.targets]
        for one in read:
            gone = gone | (one[0].isna() if one else False)
    if gone.any():
        remarks.append(f"{int(gone.sum())} of {len(frame)} rows have no target and are left out")
    return frame[~gone]


def _features(
    path: Path, frame: pd.DataFrame, left_out: set[str | None], remarks: list[str]
) -> tuple[list[str], np.ndarray]:
    """Names and values ``(rows, columns)`` of the numeric columns, NaN where a value is missing."""
    kept: dict[str, np.ndarray] = {}
    for name in frame.columns:
        if name in left_out:
            continue
        read = to_numbers(frame[name])
        if read is None or read[0].isna().all():
            remarks.append(f"column {name!r} is {'not numeric' if read is None else 'empty'} and left out")
            continue
        kept[name] = read[0].to_numpy()
        remarks.extend([read[1]] if read[1] else [])
    if not kept:
        others = ", ".join(repr(name) for name in frame.columns if name not in left_out)
        raise DataError(
            f"{path} has no numeric column besides the target"
            + (f" (not numeric: {others})" if others else "")
        )
    _note_missing(pd.DataFrame(kept), "they are set to the mean and marked", remarks)
    return list(kept), np.stack(list(kept.values()), 1)


def _open_rows(path: Path, frame: pd.DataFrame, choices: Choices, remarks: list[str]) -> LabelledTask:
    """Each row a sequence: of the bytes of its text, or of its numeric columns from left to right."""
    frame = _with_target(frame, choices, remarks)
    y, classes = _labels(path, frame, choices, remarks)
    shared: dict[str, Any] = {
        "name": path.stem,
        "classes": classes,
        "values": choices.targets,
        "seed": choices.seed,
    }
    text = choices.text or _find_text(frame.drop(columns=choices.targets))
    if text is not None:
        x, mask = bytes_of(frame[text], choices.length, remarks)
        facts = {"rows": len(frame), "text": text}
        layout = Layout(kind="text", text=text, length=x.shape[1])
        return LabelledTask(
            x, y, mask=mask, vocab_size=256, layout=layout, facts=facts, remarks=remarks, **shared
        )
    names, values = _features(path, frame, set(choices.targets), remarks)
    facts = {"rows": len(frame), "columns": names}
    layout = Layout(kind="columns", columns=names)
    return LabelledTask(
        values[..., None], y, by_place=True, layout=layout, facts=facts, remarks=remarks, **shared
    )


def _find_text(frame: pd.DataFrame) -> str | None:
    """The column of strings with the longest values; None where there is none to speak of."""
    lengths = {}
    for name in frame.columns:
        present = frame[name].dropna()
        strings = is_text(present) and len(present) and pd.api.types.infer_dtype(present) == "string"
        if strings and to_numbers(present) is None and present.nunique() > 0.2 * len(present):
            lengths[name] = float(present.str.len().mean())
    best = max(lengths, key=lambda name: lengths[name], default=None)
    return best if best is not None and (lengths[best] >= 10 or best.lower() == "text") else None


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
    path: Path, frame: pd.DataFrame, choices: Choices, dated: Dates | None, remarks: list[str]
) -> LabelledTask:
    """Each group a sequence of its rows, by date where there is one."""
    left_out = {*choices.targets, choices.group, *(dated.reading.columns if dated else ())}
    frame = _with_target(frame, choices, remarks)
    if dated is not None:
        frame = frame.loc[dated.instants[frame.index].sort_values(kind="stable").index]
    names, values = _features(path, frame, left_out, remarks)
    codes, groups = pd.factorize(frame[choices.group])
    firsts = frame.iloc[[int(np.argmax(codes == code)) for code in range(len(groups))]]
    y, classes = _labels(path, firsts, choices, remarks)
    length = int(choices.length or min(np.bincount(codes[codes >= 0]).max(), 4096))
    x, mask = rows_of_groups(codes, values, length, remarks)
    layout = Layout(
        kind="groups", columns=names, group=choices.group, date=dated.reading.columns[0] if dated else None,
        reading=dated.reading if dated else None, length=length,
    )  # fmt: skip
    facts = {"rows": len(frame), "groups": len(groups), "columns": names}
    return LabelledTask(
        x, y, mask=mask, name=path.stem, classes=classes, values=choices.targets, layout=layout,
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


# ----------------------------------------------------------------------------------------------- arrays


def open_arrays(path: Path, kind: str | None, seed: int) -> LabelledTask:
    """The task of an ``.npz`` file: ``x`` (N, T) or (N, T, F), ``y`` (N,) or (N, M)."""
    x, y = load_arrays(path, ("x", "y"))
    if y.ndim not in (1, 2) or len(y) != len(x):
        raise DataError(f"{path}: y must be (N,) or (N, M) with N = {len(x)} as in x, got {y.shape}")
    remarks: list[str] = []
    columns = {f"y{i}" if y.ndim == 2 else "y": column for i, column in enumerate(y.reshape(len(y), -1).T)}
    choices = Choices(list(columns), kind, None, None, None, None, None, None, seed)
    labels, classes = _arrays_labels(path, pd.DataFrame(columns), choices, remarks)
    facts = {"rows": len(x)}
    shared: dict[str, Any] = {"name": path.stem, "classes": classes, "values": list(columns), "seed": seed}
    shared["layout"] = Layout(kind="arrays")
    if x.ndim == 2 and x.dtype.kind in "iu" and x.min() >= 0 and x.max() < 2**16:
        remarks.append(
            f"x holds whole numbers up to {x.max()}: taken for tokens (save it as float for quantities)"
        )
        size = int(x.max()) + 1
        return LabelledTask(
            x.astype(np.int64), labels, vocab_size=size, facts=facts, remarks=remarks, **shared
        )
    x = features_of(x)
    gone = int(np.isnan(x).sum())
    if gone:
        remarks.append(f"x: {gone} of {x.size} values are missing; they are set to the mean and marked")
    return LabelledTask(x, labels, facts=facts, remarks=remarks, **shared)


def load_arrays(path: Path, names: tuple[str, ...]) -> list[np.ndarray]:
    """Arrays of an ``.npz`` file; ``DataError`` where one is missing, or x is not numbers (N, T) or (N, T, F)."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            if not set(names) <= set(stored.files):
                held = ", ".join(stored.files) or "nothing"
                raise DataError(
                    f"{path} must hold array{'s' * (len(names) > 1)} {' and '.join(names)}; it holds {held}"
                )
            arrays = [stored[name] for name in names]
    except DataError:
        raise
    except Exception as error:  # numpy, zipfile and pickle each raise their own
        raise DataError(f"{path} is not a readable .npz file of plain arrays: {error}") from None
    x = arrays[0]
    if x.ndim not in (2, 3) or 0 in x.shape or x.dtype.kind not in "iufb":
        raise DataError(f"{path}: x must be numbers (N, T) or (N, T, F), got {x.dtype} {x.shape}")
    return arrays


def features_of(x: np.ndarray) -> np.ndarray:
    """x ``(N, T)`` or ``(N, T, F)`` as floats ``(N, T, F)``, NaN where it is not finite."""
    found: np.ndarray = x.astype(np.float64).reshape(*x.shape[:2], -1)
    found[~np.isfinite(found)] = np.nan
    return found


def _arrays_labels(
    path: Path, frame: pd.DataFrame, choices: Choices, remarks: list[str]
) -> tuple[np.ndarray, list[str] | None]:
    if frame.isna().any().any():
        raise DataError(f"{path}: y holds {int(frame.isna().sum().sum())} missing values")
    return _labels(path, frame, choices, remarks)
