"""New data, encoded as the data that a model was trained on, and a model's outputs as answers about it."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from anyformer.tasks.base import Batch, DataError
from anyformer.tasks.dates import Dates, Reading
from anyformer.tasks.encoding import Encoding, ForecastEncoding, LabelledEncoding, filled
from anyformer.tasks.files import check_exists, read_table
from anyformer.tasks.forecasting import Series
from anyformer.tasks.frames import bytes_of, features_of, load_arrays, rows_of_groups
from anyformer.tasks.series import dated_rows, find_step, on_grid
from anyformer.tasks.tables import check_column, to_numbers
from anyformer.tasks.timeaxis import axis_again


@dataclass(frozen=True)
class Unseen:
    """Sequences whose targets are not known.

    Attributes:
        batch: all of them; targets are NaN, or -1 for classes.
        names: what tells the answers apart: a row for each sequence, or for each step that is forecast.
        remarks: what was decided about the data.
    """

    batch: Batch
    names: pd.DataFrame
    remarks: list[str] = field(default_factory=list)


def read_unseen(encoding: Encoding, path: str | os.PathLike[str]) -> Unseen:
    """The sequences in a file; for a forecast, the end of each of its series.

    Columns may come in any order and others may be there, that of the target too; none of them is looked at.

    Raises:
        DataError: the file cannot be used; one sentence names it, what is wrong and where.
    """
    file = check_exists(path)
    if isinstance(encoding, ForecastEncoding):
        return _ends_of_series(encoding, file)
    return _sequences(encoding, file)


def answers(encoding: Encoding, unseen: Unseen, outputs: Tensor) -> pd.DataFrame:
    """A model's outputs in words and in the user's units, in a table with the columns of ``unseen.names`` first.

    For classes, a column of the likeliest ones and one of the probability of each, ``p(class)``.
    """
    if isinstance(encoding, LabelledEncoding) and encoding.classes is not None:
        shares = outputs.detach().cpu().double().softmax(-1).numpy()
        best = np.array(encoding.classes, dtype=object)[shares.argmax(-1)]
        found = {encoding.targets[0]: best}
        found |= {f"p({name})": shares[:, i] for i, name in enumerate(encoding.classes)}
    else:
        values = unseen.batch.in_units(outputs)
        found = dict(zip(encoding.targets, values.reshape(-1, values.shape[-1]).T))
    return pd.concat([unseen.names, pd.DataFrame(found)], axis=1)


# ------------------------------------------------------------------------------------------------- labelled


def _sequences(encoding: LabelledEncoding, path: Path) -> Unseen:
    layout, remarks = encoding.layout, list[str]()
    mask: np.ndarray | None = None
    if layout.kind == "arrays":
        x = _array(encoding, path)
        names = pd.DataFrame({"row": np.arange(1, len(x) + 1)})
    elif layout.kind == "groups":
        x, mask, names = _groups(encoding, path, remarks)
    else:
        frame = read_table(path)
        names = pd.DataFrame({"row": np.arange(1, len(frame) + 1)})
        if layout.kind == "text":
            assert layout.text is not None
            x, mask = bytes_of(frame[check_column(path, frame, layout.text, "text")], layout.length, remarks)
        else:
            x = _numbers(path, frame, layout.columns, remarks).to_numpy()[..., None]
    if encoding.standard is not None:
        if not encoding.standard.marks and np.isnan(x).any():
            remarks.append(f"{int(np.isnan(x).sum())} values are missing; they are set to the mean")
        x = encoding.standard.encode(x)
    tokens = encoding.vocab_size is not None
    inputs = torch.from_numpy(x.astype(np.int64 if tokens else np.float32))
    seen = None if mask is None or mask.all() else torch.from_numpy(mask)
    if encoding.classes is not None:
        return Unseen(Batch(inputs, torch.full((len(x),), -1), seen), names, remarks)
    unknown = torch.full((len(x), len(encoding.targets)), torch.nan)
    shift, scale = (
        torch.tensor([numbers], dtype=torch.float64).expand(unknown.shape)
        for numbers in (encoding.shift, encoding.scale)
    )
    return Unseen(Batch(inputs, unknown, seen, shift, scale), names, remarks)


def _array(encoding: LabelledEncoding, path: Path) -> np.ndarray:
    if path.suffix.lower() != ".npz":
        raise DataError(f"{path}: the model was trained on an .npz file, and takes another with an array x")
    (x,) = load_arrays(path, ("x",))
    if encoding.vocab_size is not None:
        if x.ndim != 2 or x.dtype.kind not in "iu":
            raise DataError(f"{path}: x must be tokens (N, T) of integers, got {x.dtype} {x.shape}")
        if x.min() < 0 or x.max() >= encoding.vocab_size:
            raise DataError(
                f"{path}: x must hold tokens from 0 to {encoding.vocab_size - 1}, got {x.min()} to {x.max()}"
            )
        return x
    assert encoding.standard is not None
    x, width = features_of(x), len(encoding.standard.mean[0])
    if x.shape[2] != width:
        raise DataError(f"{path}: x must have {width} features a place, got {x.shape[2]}")
    return x


def _groups(
    encoding: LabelledEncoding, path: Path, remarks: list[str]
) -> tuple[np.ndarray, np.ndarray, pd.DataFrame]:
    layout, frame = encoding.layout, read_table(path)
    assert layout.group is not None and layout.length is not None
    check_column(path, frame, layout.group, "group")
    if layout.date is not None:
        dated = axis_again(path, frame, layout, remarks)
        frame = frame.loc[dated.instants.sort_values(kind="stable").index]
    values = _numbers(path, frame, layout.columns, remarks)
    codes, groups = pd.factorize(frame[layout.group])
    if not len(groups):
        raise DataError(f"{path}: column {layout.group!r} holds no group")
    x, mask = rows_of_groups(codes, values.to_numpy(), layout.length, remarks)
    return x, mask, pd.DataFrame({layout.group: groups})


def _numbers(path: Path, frame: pd.DataFrame, columns: list[str], remarks: list[str]) -> pd.DataFrame:
    """These columns as numbers, NaN where one is missing; ``DataError`` where one is absent or not numeric."""
    absent = [name for name in columns if name not in frame.columns]
    if absent:
        check_column(path, frame, absent[0], f"the model needs the columns {', '.join(map(repr, columns))}")
    found: dict[str, Any] = {}
    for name in columns:
        read = to_numbers(frame[name])
        if read is None and frame[name].notna().any():
            shown = frame[name].dropna().tolist()[0]
            raise DataError(f"{path}: column {name!r} is not numeric (it holds {shown!r})")
        found[name] = np.nan if read is None else read[0]
        remarks.extend([read[1]] if read is not None and read[1] else [])
    return pd.DataFrame(found, index=frame.index, dtype=np.float64)


# ------------------------------------------------------------------------------------------------- forecasts


def _ends_of_series(encoding: ForecastEncoding, path: Path) -> Unseen:
    layout, frame, remarks = encoding.layout, read_table(path), list[str]()
    table = _numbers(path, frame, layout.columns, remarks)
    groups = pd.Series("", index=frame.index)
    if layout.group is not None:
        groups = frame[check_column(path, frame, layout.group, "group")]
    origin, reading = None, None
    if layout.step is None:
        parts = [Series(table[groups == g].to_numpy(), 0, str(g)) for g in groups.dropna().unique()]
    else:
        dated = axis_again(path, frame, layout, remarks)
        table, _, groups = dated_rows(table, dated, groups, remarks)
        _check_step(encoding, path, dated, groups)
        origin, reading = dated.values.loc[table.index].to_numpy().min(), dated.reading
        parts, _ = on_grid(table, dated, groups, layout.step, remarks)
    lasts = list({part.name: _without_blank_end(part) for part in parts}.values())
    problems = [problem for problem in (_problem(encoding, part) for part in lasts) if problem]
    usable = [part for part in lasts if not _problem(encoding, part)]
    if not usable:
        raise DataError(f"{path}: {problems[0] if problems else 'there are no rows'}")
    remarks += [f"{problem}: left out" for problem in problems]
    return Unseen(_windows(encoding, usable), _steps_ahead(encoding, usable, origin, reading), remarks)


def _check_step(encoding: ForecastEncoding, path: Path, dated: Dates, groups: pd.Series) -> None:
    layout = encoding.layout
    assert layout.step is not None
    step, regular, _ = find_step(path, dated, groups)
    if regular and not 0.6 < step.roughly() / layout.step.roughly() < 1.6:
        raise DataError(
            f"{path}: dates in {dated.name!r} are {step} apart; the model was trained on steps of {layout.step}"
        )


def _without_blank_end(part: Series) -> Series:
    """The series without the rows at its end that hold a date and nothing else."""
    known = np.flatnonzero(~np.isnan(part.values).all(1))
    return Series(part.values[: known[-1] + 1 if len(known) else 0], part.start, part.name)


def _problem(encoding: ForecastEncoding, part: Series) -> str | None:
    """Why this series cannot be forecast."""
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
    encoding: ForecastEncoding, parts: list[Series], origin: np.datetime64 | None, reading: Reading | None
) -> pd.DataFrame:
    """The series, where there are several, and the date or number of each step that is forecast."""
    layout, ahead = encoding.layout, np.arange(encoding.horizon)
    found: dict[str, Any] = {}
    if layout.group is not None:
        found[layout.group] = np.repeat([part.name for part in parts], len(ahead))
    if origin is None or reading is None or layout.step is None:
        return pd.DataFrame({**found, "step": np.tile(ahead + 1, len(parts))})
    places = np.array([part.start + len(part.values) + k for part in parts for k in ahead.tolist()])
    return pd.DataFrame({**found, **reading.write(layout.step.dates(places, origin))})
