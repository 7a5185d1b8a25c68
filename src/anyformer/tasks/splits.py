"""Samples into splits: equal ones together and stratified, or as the user has split them.

Forecasts are split by time (:mod:`anyformer.tasks.forecasting`), texts to be continued by document or region
(:mod:`anyformer.tasks.text`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from types import MappingProxyType
from typing import cast

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from anyformer.errors import DataError
from anyformer.spelling import option
from anyformer.tables.arrowfolders import SPLIT_NAMES, has_splits, is_arrow_folder
from anyformer.tables.columns import SPLIT
from anyformer.tables.files import check_exists, read_table
from anyformer.tables.reading import Table, stacked
from anyformer.tasks.base import SPLITS, Split

SHARES: dict[Split, float] = {"train": 0.7, "valid": 0.15, "test": 0.15}
WORDS = cast(dict[str, Split], SPLIT_NAMES)
"""Names of splits in a column, in any case."""
COLUMN = SPLIT
"""The column that tells the rows of several files apart."""


def split_alike(
    parts: Sequence[np.ndarray],
    mask: np.ndarray | None,
    labels: np.ndarray | None,
    seed: int,
    name: str = "data",
    lost: str = "",
    shares: Mapping[Split, float] = MappingProxyType(SHARES),
    groups: np.ndarray | None = None,
) -> dict[Split, np.ndarray]:
    """Return the indices of samples in each split: stratified by label, in order of hash, equal ones together.

    Args:
        parts: arrays ``(N, ...)`` that make up a sample, numbers or texts.
        mask: ``(N, T)`` bool, True where they are real.
        labels: ``(N,)`` integers, or None.
        seed: fixes the order.
        name: of the data, for messages.
        lost: ends the message if too few samples are different: what was left out of them.
        shares: of the splits; train gets the rest.
        groups: ``(N,)`` integers: samples of the same group go into the same split too.

    Raises:
        DataError: there are too few different samples for the splits.
    """
    alike: dict[bytes, list[int]] = {}
    for number, key in enumerate(keys_of(parts, mask, seed, groups)):
        alike.setdefault(key, []).append(number)
    strata: dict[int, list[bytes]] = {}
    for key_bytes in sorted(alike):
        label = 0 if labels is None else int(labels[alike[key_bytes][0]])
        strata.setdefault(label, []).append(key_bytes)
    found: dict[Split, list[int]] = {split: [] for split in SPLITS}
    for keys in strata.values():
        test = int(shares["test"] * len(keys) + 0.5)
        valid = min(int(shares["valid"] * len(keys) + 0.5), len(keys) - test)
        ends = {"test": (0, test), "valid": (test, test + valid), "train": (test + valid, len(keys))}
        for split in SPLITS:
            for key_bytes in keys[slice(*ends[split])]:
                found[split].extend(alike[key_bytes])
    for split in SPLITS:
        if shares[split] and not found[split]:
            raise DataError(
                f"{name}: only {len(alike)} different samples: too few for train, validation and test{lost}"
            )
    return {split: np.array(sorted(part), dtype=np.int64) for split, part in found.items()}


def split_as_given(
    given: np.ndarray,
    parts: Sequence[np.ndarray],
    mask: np.ndarray | None,
    labels: np.ndarray | None,
    seed: int,
    name: str,
    remarks: list[str],
) -> dict[Split, np.ndarray]:
    """Return the indices of samples in the splits that the user gave ``(N,)``; see :func:`split_alike` for the rest.

    Without validation samples, a part of the training samples becomes them. Samples that are equal stay where the user
    put them, with a remark.

    Raises:
        DataError: there are no training or no test samples.
    """
    found = {split: np.flatnonzero(given == split) for split in SPLITS}
    for split in ("train", "test"):
        if not len(found[split]):
            raise DataError(f"{name}: the {split} split that was given has no sample")
    train = found["train"]
    if not len(found["valid"]):
        inner = split_alike(
            [part[train] for part in parts],
            None if mask is None else mask[train],
            None if labels is None else labels[train],
            seed,
            name,
            shares={"train": 1 - SHARES["valid"], "valid": SHARES["valid"], "test": 0.0},
        )
        found |= {"train": train[inner["train"]], "valid": train[inner["valid"]]}
        remarks.append(
            f"no validation split is given: {len(inner['valid'])} of the {len(train)} training samples become it"
        )
    keys = np.array(list(hashes(parts, mask)), dtype=object)
    known = set(keys[found["train"]])
    for split in SPLITS[1:]:
        if again := sum(key in known for key in keys[found[split]]):
            remarks.append(
                f"{again} of {len(found[split])} {split} samples are equal to training samples; the split is as it was "
                "given"
            )
    return found


def hashes(parts: Sequence[np.ndarray], mask: np.ndarray | None, seed: int = 0) -> Iterator[bytes]:
    """Yield a hash of what is real in each sample of arrays ``(N, ...)``."""
    salt = b"%016d" % (seed % 10**16)
    for number in range(len(parts[0])):
        found = blake2b(digest_size=16, salt=salt)
        for part in parts:
            real = part[number] if mask is None else part[number][mask[number]]
            texts = part.dtype == object
            found.update(
                repr(np.asarray(real).tolist()).encode() if texts else np.ascontiguousarray(real).tobytes()
            )
        yield found.digest()


def keys_of(
    parts: Sequence[np.ndarray], mask: np.ndarray | None, seed: int = 0, groups: np.ndarray | None = None
) -> list[bytes]:
    """Return one key for all samples that are equal or connected by ``groups`` ``(N,)``: the least of their hashes."""
    keys = list(hashes(parts, mask, seed))
    if groups is None:
        return keys
    codes = [np.unique(part, return_inverse=True)[1] for part in (np.array(keys, object), groups)]
    width = int(codes[0].max()) + 1
    ends = (codes[0], codes[1] + width)
    links = sparse.coo_matrix((np.ones(len(keys)), ends), shape=(width + int(codes[1].max()) + 1,) * 2)
    component = connected_components(links, directed=False)[1][codes[0]].tolist()
    least: dict[int, bytes] = {}
    for key, one in zip(keys, component):
        least[one] = min(key, least.get(one, key))
    return [least[one] for one in component]


def with_files(table: Table, files: Mapping[Split, str | None]) -> Table:
    """Return a table with the rows of further files, and the column ``COLUMN`` that names the split of each row.

    Raises:
        DataError: a file cannot be read, or lacks a column of the table, or has another.
    """
    if COLUMN in table.frame.columns:
        raise DataError(f"{table.path}: column {COLUMN!r} must be called otherwise where files are splits")
    frame = table.frame.assign(**{COLUMN: "train"})
    found = replace(table, frame=frame)
    for split, file in files.items():
        if file is None:
            continue
        path = check_exists(file)
        if path.resolve() == table.path.resolve():
            raise DataError(f"{option(split)} must name another file than the data, got {str(file)!r}")
        more = read_table(path, table.convention)
        found = stacked(found, replace(more, frame=more.frame.assign(**{COLUMN: split})), option(split))
    return found


def splits_of(table: Table, name: str, remarks: list[str], keys: pd.Series | None = None) -> np.ndarray:
    """Return the split of each row, or of each group of rows, in the order in which ``keys`` first have them.

    Raises:
        DataError: the column holds another word than :data:`WORDS`, or several splits within a group.
    """
    texts = table.keys(name)
    words = texts.map(lambda text: WORDS.get(str(text).strip().casefold()), na_action="ignore")
    odd = texts[words.isna()]
    if len(odd):
        first = "an empty cell" if pd.isna(odd.iloc[0]) else repr(odd.iloc[0])
        raise DataError(
            f"{option('split')}: column {name!r} of {table.path} must hold one of {', '.join(WORDS)} in each row, got "
            f"{first} in row {int(odd.index[0]) + 1}"
        )
    if keys is not None:
        several = words.groupby(keys).nunique()
        if (several > 1).any():
            raise DataError(
                f"{option('split')}: the rows of group {min(several.index[several > 1])!r} are in several splits of "
                f"{table.path}: a group must be in one"
            )
        words = words.groupby(keys).first().loc[pd.unique(keys)]
    counts = words.value_counts()
    remarks.append(
        "the splits are as given: "
        + ", ".join(
            f"{counts.get(split, 0)} {'groups' if keys is not None else 'rows'} {split}" for split in SPLITS
        )
    )
    found: np.ndarray = words.to_numpy(dtype=object)
    return found


def check_splits(split: str | None, files: Mapping[Split, str | None], path: Path) -> None:
    """Raise ``ValueError`` if splits are given in two ways, or validation rows without test rows."""
    given = [name for name, file in files.items() if file is not None]
    if is_arrow_folder(path) and has_splits(path) and (split is not None or given):
        name = given[0] if given else "split"
        raise ValueError(f"{option(name)} does not apply to {path}, which has splits of its own")
    if split is not None and given:
        raise ValueError(f"{option('split')} and {option(given[0])} both say how {path} is split: give one")
    if given == ["valid"]:
        raise ValueError(f"{option('valid')} needs {option('test')} beside it")
