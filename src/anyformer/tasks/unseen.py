"""New data, encoded as a model's training data was, and the model's outputs as answers about it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from anyformer.dates.reading import DateReading, Dates
from anyformer.errors import DataError
from anyformer.questions import quantiles_of
from anyformer.tables.columns import check_column, is_text
from anyformer.tables.delimited import DelimitedStyle
from anyformer.tables.files import FILE, READ, TEXT, check_exists, read_table, read_texts
from anyformer.tables.packed import suffix_of
from anyformer.tables.reading import Table
from anyformer.tables.timeaxis import as_written, axis_again
from anyformer.tables.writing import significant
from anyformer.tasks.arrays import features_of, load_sequences
from anyformer.tasks.base import Batch
from anyformer.tasks.categories import Category
from anyformer.tasks.categorycolumns import texts_of
from anyformer.tasks.choices import group_keys, note_ungrouped
from anyformer.tasks.encoding import Encoding, ForecastEncoding, LabelledEncoding, as_tensors, filled
from anyformer.tasks.forecasting import Series
from anyformer.tasks.rows import bytes_of, rows_of_groups
from anyformer.tasks.series import dated_rows, find_step, known_rows, on_grid


@dataclass(frozen=True)
class Unseen:
    """Sequences with unknown targets.

    Attributes:
        batch: all of them; targets are NaN, or -1 for classes.
        names: identifies the answers: a row for each sequence, or for each step that is forecast.
        remarks: decisions made about the data.
        style: the format of the file, if it is one of delimited text.
    """

    batch: Batch
    names: pd.DataFrame
    remarks: list[str] = field(default_factory=list)
    style: DelimitedStyle = field(default_factory=DelimitedStyle)

    def parts(self, batch_size: int) -> Iterator[Batch]:
        """Yield all of them in batches."""
        for start in range(0, len(self.batch), batch_size):
            yield self.batch[start : start + batch_size]


def read_unseen(encoding: Encoding, path: str | os.PathLike[str]) -> Unseen:
    """Read the sequences in a file; for a forecast, the end of each of its series.

    Columns may come in any order; further ones, the target's included, are ignored.

    Raises:
        DataError: the file cannot be used; one sentence names it, what is wrong and where.
    """
    file = check_exists(path)
    if isinstance(encoding, ForecastEncoding):
        return _ends_of_series(encoding, file)
    if isinstance(encoding, LabelledEncoding):
        return _sequences(encoding, file)
    found: Unseen = encoding.read(file)
    return found


def answers(encoding: Encoding, unseen: Unseen, outputs: Tensor) -> pd.DataFrame:
    """Return a model's outputs as class names or in the user's units, beside the columns of ``unseen.names``.

    For classes, a column of the likeliest one and a column ``p(class)`` of probabilities for each; for quantiles, a
    column ``target_q0.1`` for each.
    """
    if not isinstance(encoding, LabelledEncoding | ForecastEncoding):
        return encoding.answers(unseen, outputs)
    if isinstance(encoding, LabelledEncoding) and encoding.classes is not None:
        found = class_columns(encoding.targets[0], encoding.classes, outputs)
    else:
        assert unseen.batch.scale is not None
        names, scale = encoding.targets, unseen.batch.scale
        if isinstance(encoding, ForecastEncoding) and encoding.levels:
            names, shape = encoding.names, unseen.batch.targets.shape
            outputs = quantiles_of(outputs, shape, encoding.levels)
            scale = scale[..., None]
        values = significant(unseen.batch.in_units(outputs), scale.numpy())
        found = dict(zip(names, values.reshape(-1, len(names)).T))
    numbers = {name: f"number of the {name}" for name in ("row", "step") if name in found}
    return pd.concat([unseen.names.rename(columns=numbers), pd.DataFrame(found)], axis=1)


def class_columns(target: str, classes: Sequence[str], outputs: Tensor) -> dict[str, np.ndarray]:
    """Return the likeliest class of each row of logits ``(B, C)``, and the probability of each class."""
    shares = outputs.detach().cpu().double().softmax(-1).numpy()
    found = {target: np.array(classes, dtype=object)[shares.argmax(-1)]}
    shares = significant(shares, np.ones(1))
    return {**found, **{f"p({name})": shares[:, i] for i, name in enumerate(classes)}}


# ------------------------------------------------------------------------------------------------- labelled


def _sequences(encoding: LabelledEncoding, path: Path) -> Unseen:
    layout, remarks = encoding.layout, list[str]()
    mask: np.ndarray | None = None
    texts = dict[str, np.ndarray]()
    style = DelimitedStyle()
    if layout.kind == "arrays":
        x = _array(encoding, path, remarks)
        names = pd.DataFrame({"row": np.arange(1, len(x) + 1)})
    elif layout.kind == "groups":
        table = read_table(path, layout.convention)
        style = table.style
        x, texts, mask, names = _groups(encoding, table, remarks)
    else:
        of_files = layout.text == TEXT and suffix_of(path) not in READ
        table = read_texts(path) if of_files else read_table(path, layout.convention)
        style = table.style
        remarks.extend(table.remarks)
        names = table.frame[[FILE]] if of_files else pd.DataFrame({"row": np.arange(1, len(table.frame) + 1)})
        if layout.kind == "text":
            assert layout.text is not None
            text = check_column(
                path, table.frame, layout.text, needs=f"the model needs the column {layout.text!r}"
            )
            column = table.frame[text] if is_text(table.frame[text]) else table.keys(text)
            x, mask = bytes_of(column, layout.length, remarks)
        else:
            x = numbers_in(table, layout.columns, remarks).to_numpy()[..., None]
            texts = categories_in(table, encoding.categories, remarks)
    told = layout.kind == "arrays" and encoding.standard is not None and encoding.standard.marks
    if encoding.standard is not None and (gone := int(np.isnan(x).sum())) and not told:
        marked = " and marked" if encoding.standard.marks else ""
        remarks.append(
            f"1 value is missing; it is set to the mean{marked}"
            if gone == 1
            else f"{gone} values are missing; they are set to the mean{marked}"
        )
    inputs = as_tensors(encoding.inputs(x, texts))
    seen = None if mask is None or mask.all() else torch.from_numpy(mask)
    if encoding.classes is not None:
        return Unseen(Batch(inputs, torch.full((len(x),), -1), seen), names, remarks, style)
    unknown = torch.full((len(x), len(encoding.targets)), torch.nan)
    shift, scale = (
        torch.tensor([numbers], dtype=torch.float64).expand(unknown.shape)
        for numbers in (encoding.shift, encoding.scale)
    )
    return Unseen(Batch(inputs, unknown, seen, shift, scale), names, remarks, style)


def _array(encoding: LabelledEncoding, path: Path, remarks: list[str]) -> np.ndarray:
    if path.suffix.lower() != ".npz":
        raise DataError(f"{path}: the model was trained on an .npz file, and takes another with an array x")
    (x,) = load_sequences(path, ("x",), remarks)
    if encoding.vocab_size is not None:
        if x.ndim != 2 or x.dtype.kind not in "iu":
            raise DataError(f"{path}: x must be tokens (N, T) of integers, got {x.dtype} {x.shape}")
        if x.min() < 0 or x.max() >= encoding.vocab_size:
            raise DataError(
                f"{path}: x must hold tokens from 0 to {encoding.vocab_size - 1}, got {x.min()} to {x.max()}"
            )
        return x
    assert encoding.standard is not None
    x, width = features_of(x, encoding.layout.axes, remarks), len(encoding.standard.mean[0])
    if x.shape[2] != width:
        raise DataError(f"{path}: x must have {width} features a place, got {x.shape[2]}")
    return x


def _groups(
    encoding: LabelledEncoding, table: Table, remarks: list[str]
) -> tuple[np.ndarray, dict[str, np.ndarray], np.ndarray, pd.DataFrame]:
    layout, path = encoding.layout, table.path
    assert layout.groups and layout.length is not None
    remarks.extend(table.remarks)
    keys = groups_in(table, layout.groups, remarks)
    if layout.date is not None:
        dated = axis_again(path, as_written(table), layout.date, layout.reading, remarks, keys)
        table = replace(table, frame=table.frame.loc[dated.instants.sort_values(kind="stable").index])
    values = numbers_in(table, layout.columns, remarks)
    texts = categories_in(table, encoding.categories, remarks)
    codes, different = pd.factorize(keys[table.frame.index])
    if not len(different):
        raise DataError(f"{path}: column {layout.groups[0]!r} holds no group")
    x, mask = rows_of_groups(codes, values.to_numpy(), layout.length, remarks)
    sequences = {name: rows_of_groups(codes, t, layout.length, [])[0] for name, t in texts.items()}
    return x, sequences, mask, named_groups(table, layout.groups, keys, list(different))


def groups_in(table: Table, names: list[str], remarks: list[str]) -> pd.Series:
    """Return the key of each row's group, missing where there is none; ``DataError`` if a column is absent."""
    for name in names:
        check_column(table.path, table.frame, name, needs=f"the model needs the column {name!r}")
    keys = group_keys(table, names)
    note_ungrouped(keys, remarks)
    return keys


def named_groups(table: Table, names: list[str], keys: pd.Series, wanted: list[str]) -> pd.DataFrame:
    """Return the group columns, with a row for each of the wanted keys."""
    firsts = keys.drop_duplicates()
    rows = dict(zip(firsts, firsts.index))
    return pd.DataFrame({name: table.keys(name)[[rows[key] for key in wanted]].to_numpy() for name in names})


def numbers_in(table: Table, columns: list[str], remarks: list[str]) -> pd.DataFrame:
    """Return these columns as numbers, NaN where one is missing; ``DataError`` if a column is absent or not numeric."""
    path, frame = table.path, table.frame
    absent = [name for name in columns if name not in frame.columns]
    if absent:
        check_column(
            path, frame, absent[0], needs=f"the model needs the columns {', '.join(map(repr, columns))}"
        )
    found: dict[str, Any] = {}
    for name in columns:
        read = table.numbers(name)
        if read is None:
            why = table.refusals.get(name) or f"is not numeric (it holds {table.shown(name)})"
            raise DataError(f"{path}: column {name!r} {why}")
        found[name] = read
        remarks.extend(table.notes.get(name, []))
    return pd.DataFrame(found, index=frame.index, dtype=np.float64)


def categories_in(table: Table, categories: Sequence[Category], remarks: list[str]) -> dict[str, np.ndarray]:
    """Return the texts of each category ``(rows,)``; ``DataError`` if a column is absent."""
    found = {}
    for category in categories:
        name = check_column(
            table.path, table.frame, category.name, needs=f"the model needs the column {category.name!r}"
        )
        found[name] = texts_of(table, name)
        if unknown := category.unknown(found[name]):
            shown = ", ".join(map(repr, unknown[:3])) + (", ..." if len(unknown) > 3 else "")
            remarks.append(f"{name!r}: values that training showed at most once are read as one ({shown})")
    return found


# ------------------------------------------------------------------------------------------------- forecasts


def _ends_of_series(encoding: ForecastEncoding, path: Path) -> Unseen:
    layout, remarks = encoding.layout, list[str]()
    table = read_table(path, layout.convention)
    remarks.extend(table.remarks)
    numbers = numbers_in(table, layout.columns, remarks)
    groups = groups_in(table, layout.groups, remarks)
    dated = (
        None
        if layout.step is None
        else axis_again(path, as_written(table), layout.date, layout.reading, remarks, groups)
    )
    instants = None if dated is None else dated.instants
    numbers = numbers[known_rows(numbers, instants, groups, encoding.targets, remarks)]
    keys, groups, origin = groups, groups[numbers.index], None
    if layout.step is None or dated is None:
        parts = [Series(numbers[groups == g].to_numpy(), 0, str(g)) for g in groups.dropna().unique()]
    else:
        numbers, _, groups = dated_rows(numbers, dated, groups, remarks)
        _check_step(encoding, path, dated, groups)
        origin = dated.values.loc[numbers.index].to_numpy().min()
        parts, _ = on_grid(numbers, dated, groups, layout.step, remarks)
    lasts = list({part.name: part for part in parts}.values())
    problems = [problem for problem in (_problem(encoding, part) for part in lasts) if problem]
    usable = [part for part in lasts if not _problem(encoding, part)]
    if not usable:
        raise DataError(f"{path}: {problems[0] if problems else 'there are no rows'}")
    remarks += [f"{problem}: left out" for problem in problems]
    wanted = [part.name for part in usable for _ in range(encoding.horizon)]
    names = named_groups(table, layout.groups, keys, wanted)
    ahead = _steps_ahead(encoding, usable, origin, dated.reading if dated else None)
    return Unseen(_windows(encoding, usable), pd.concat([names, ahead], axis=1), remarks, table.style)


def _check_step(encoding: ForecastEncoding, path: Path, dated: Dates, groups: pd.Series) -> None:
    layout = encoding.layout
    assert layout.step is not None
    step, regular, _ = find_step(path, dated, groups)
    if regular and not 0.6 < step.roughly() / layout.step.roughly() < 1.6:
        raise DataError(
            f"{path}: dates in {dated.name!r} are {step} apart; the model was trained on steps of {layout.step}"
        )


def _problem(encoding: ForecastEncoding, part: Series) -> str | None:
    """Return why this series cannot be forecast; None if it can."""
    what = f"series {part.name!r}" if part.name else "the series"
    if len(part.values) < encoding.context:
        return f"{what} has {len(part.values)} steps at its end; the model needs {encoding.context}"
    for name in encoding.targets:
        if np.isnan(part.values[:, encoding.layout.columns.index(name)]).all():
            return f"column {name!r} of {what} holds no number"
    return None


def _windows(encoding: ForecastEncoding, parts: list[Series]) -> Batch:
    values = np.stack([filled(part.values)[-encoding.context :] for part in parts])
    missing = np.stack([np.isnan(part.values[-encoding.context :]) for part in parts])
    x, shift, scale, _ = encoding.normalised(values, missing)
    index = [encoding.layout.columns.index(name) for name in encoding.targets]
    unknown = torch.full((len(parts), encoding.horizon, len(index)), torch.nan)
    units = [torch.from_numpy(numbers[..., index]) for numbers in (shift, scale)]
    return Batch(torch.from_numpy(x.astype(np.float32)), unknown, None, *units)


def _steps_ahead(
    encoding: ForecastEncoding, parts: list[Series], origin: np.datetime64 | None, reading: DateReading | None
) -> pd.DataFrame:
    """Return the date or number of each step that is forecast."""
    layout, ahead = encoding.layout, np.arange(encoding.horizon)
    if origin is None or reading is None or layout.step is None:
        return pd.DataFrame({"step": np.tile(ahead + 1, len(parts))})
    places = np.array([part.start + len(part.values) + k for part in parts for k in ahead.tolist()])
    return pd.DataFrame(reading.write(layout.step.dates(places, origin)))
