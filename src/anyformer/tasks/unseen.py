"""New data, encoded as a model's training data was, and the model's outputs as answers about it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

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
from anyformer.tasks.encoding import Encoding, LabelledEncoding, as_tensors
from anyformer.tasks.forecast_encoding import ForecastEncoding
from anyformer.tasks.new_data import Unseen, categories_in, groups_in, named_groups, numbers_in
from anyformer.tasks.rows import bytes_of, rows_of_groups
from anyformer.tasks.unseen_series import ends_of_series


def read_unseen(encoding: Encoding, path: str | os.PathLike[str]) -> Unseen:
    """Read the sequences in a file; for a forecast, the end of each of its series.

    Columns may come in any order; further ones, the target's included, are ignored.

    Raises:
        DataError: the file cannot be used; one sentence names it, what is wrong and where.
    """
    file = check_exists(path)
    if isinstance(encoding, ForecastEncoding):
        return ends_of_series(encoding, file)
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
