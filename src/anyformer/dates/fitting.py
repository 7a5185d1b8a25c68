"""Find the date patterns that fit the texts of a column."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
import pandas as pd
import pyarrow as pa

from anyformer.dates.forms import known_styles
from anyformer.dates.style import DateStyle, Parsed

MOST_MISFITS = 0.05
#: Range of years of dates, unless the user names the column.
PLAUSIBLE = (1600, 2199)
_DATED = r"(?=(?:\D*\d){3})[\w .,:/+'-]{4,40}"


def nearly_dates(column: pd.Series) -> str | None:
    """Return what is wrong with a column of which at least half fit one pattern; None for any other column."""
    texts = texts_of(column)
    if texts is None:
        return None
    rows, unique = pd.factorize(texts)
    for style, parsed in fitting_styles(rows, unique, known_styles(), misfits=0.5)[:1]:
        wrong = np.flatnonzero((rows >= 0) & np.isnat(np.append(parsed.dates, np.datetime64("NaT"))[rows]))
        shown = style.narrowed(parsed).pattern
        first = f"(first: {texts.iloc[wrong[0]]!r} in row {wrong[0] + 1})" if len(wrong) else ""
        return f"{len(wrong)} of {len(texts)} values are no plausible dates written {shown} {first}"
    return None


def texts_of(column: pd.Series) -> pd.Series | None:
    """Return a column as stripped texts, missing where it is missing or blank.

    Returns None for a column without values, or with values other than texts, dates and whole numbers."""
    kinds = pd.api.types
    if kinds.is_bool_dtype(column):
        return None
    present = column.dropna()
    if kinds.is_numeric_dtype(column):
        values = present.to_numpy(dtype=np.float64)
        if (
            not len(values)
            or not (np.equal(values, np.round(values)) & (values >= 0) & (values < 1e18)).all()
        ):
            return None
        texts = present.astype("int64").astype(str)
    elif kinds.is_datetime64_any_dtype(column):
        texts = present.dt.strftime("%Y-%m-%d")
    elif isinstance(column.dtype, pd.CategoricalDtype):
        return _of_categories(column)
    else:
        texts = present.astype(str).str.strip()
        texts = texts[texts != ""]
        if texts.empty:
            return None
        if texts.str.fullmatch(r"\d+\.0+").all():  # whole numbers of a column with a missing value
            texts = texts.str.partition(".")[0]
    return texts.astype(object).reindex(column.index, fill_value=None)


def _of_categories(column: pd.Series) -> pd.Series | None:
    """Return the texts of a column of categories as categories, each of which is there in some row."""
    codes, different = pd.factorize(column)
    texts = texts_of(pd.Series(np.asarray(different, dtype=object)))
    if texts is None:
        return None
    numbers, found = pd.factorize(texts)
    return pd.Series(pd.Categorical.from_codes(np.append(numbers, -1)[codes], found), column.index)


def fitting_styles(
    rows: np.ndarray,
    unique: np.ndarray,
    styles: list[tuple[DateStyle, int]],
    first_year: int | None = None,
    local: Mapping[str, float] | None = None,
    misfits: float = MOST_MISFITS,
) -> list[tuple[DateStyle, Parsed]]:
    """Return the styles that fit the most values, if nearly all fit, with the parsed distinct texts.

    Args:
        rows: (N,), index of each row's text in the distinct texts ``unique``; -1 where it has none.
        styles: with their tiers, ascending; only the lowest tier that fits is kept.
        first_year, local: see :meth:`anyformer.dates.style.DateStyle.parse`.
        misfits: the largest share of values that may not fit.
    """
    counts = np.bincount(rows[rows >= 0], minlength=len(unique))
    if not len(unique):
        return []
    unique = np.asarray(unique, dtype=object)
    array, sample = pa.array(unique, pa.string()), unique[np.linspace(0, len(unique) - 1, 40).astype(int)]
    tried: list[tuple[DateStyle, int, Parsed, int]] = []
    some_texts = sample[:: max(len(sample) // 3, 1)]
    some = [set(text) for text in some_texts]
    holds = {
        letters: any(letters <= text for text in some) for letters in {style.literals for style, _ in styles}
    }
    words = all(re.search(r"[^\W\d_]{2}", text) for text in some_texts)
    for style, tier in styles:  # cheap tests first: compiling a regular expression is slow
        if tried and tier > tried[0][1]:
            break
        if not words and style.letters & {"a", "b"}:
            continue
        if not holds[style.literals] or not _fits_sample(style, sample, misfits):
            continue
        parsed = style.parse(array, first_year, local)
        leave_out_far(parsed.dates)
        fits = int(counts[~np.isnat(parsed.dates)].sum())
        if fits >= (1 - misfits) * counts.sum():
            tried.append((style, tier, parsed, fits))
    if not tried:
        return []
    most = max(fits for *_, fits in tried)
    found: list[tuple[DateStyle, Parsed]] = []
    for style, _, parsed, fits in tried:
        again = any(np.array_equal(parsed.dates, other.dates, equal_nan=True) for _, other in found)
        if fits == most and not again:
            found.append((style, parsed))
    return found


def leave_out_far(dates: np.ndarray) -> tuple[int, tuple[int, int]]:
    """Set dates (N,) in years far from the others to NaT; return their number and the range of years allowed.

    Examples are 9999-12-31 and 0001-01-01, which databases hold for "never", and a few 2202 for 2022.
    """
    years = dates.astype("datetime64[Y]").astype(np.int64) + 1970
    for (low, high), most in (((1000, 2999), 1.0), (PLAUSIBLE, MOST_MISFITS)):
        known = ~np.isnat(dates)
        far = known & ((years < low) | (years > high))
        others = years[known & ~far]
        if not far.any() or not len(others) or far.sum() > most * known.sum():
            continue
        if low > 1000:
            far &= (years < others.min() - 50) | (years > others.max() + 50)
        dates[far] = np.datetime64("NaT")
        if far.any():
            return int(far.sum()), (low, high)
    return 0, PLAUSIBLE


def ways_of(column: pd.Series) -> str | None:
    """Return the patterns by which the dates of a column are written, with an example each; None unless several."""
    texts = texts_of(column)
    if texts is None:
        return None
    texts = texts.astype(object)
    rest, found, count = texts.dropna(), list[str](), int(texts.notna().sum())
    dated = rest.iloc[np.linspace(0, len(rest) - 1, 40).astype(int)].str.fullmatch(_DATED)
    while len(rest) and len(found) < 5 and dated.mean() > 0.8:
        rows, unique = pd.factorize(rest)
        fitting = fitting_styles(rows, unique, known_styles(), misfits=0.9)
        if not fitting:
            break
        style, parsed = fitting[0]
        fits = ~np.isnat(np.append(parsed.dates, np.datetime64("NaT"))[rows])
        row = rest.index[int(fits.argmax())]
        found.append(f"{rest[row]!r} in row {row + 1} ({style.narrowed(parsed).pattern})")
        rest = rest[~fits]
    return ", ".join(found) if len(found) > 1 and len(rest) <= MOST_MISFITS * count else None


def _fits_sample(style: DateStyle, sample: np.ndarray, misfits: float) -> bool:
    """True if few enough of the sampled texts fail to match the style, for a column with ``misfits`` at most."""
    left = len(sample) * (misfits + 0.15)
    for text in sample:
        left -= style.form.match(text.zfill(style.width)) is None
        if left < 0:
            return False
    return True
