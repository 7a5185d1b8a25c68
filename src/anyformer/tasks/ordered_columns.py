"""Columns of numbers as a series in their order, or each with a meaning of its own."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

from anyformer.layers.rocket import TAPS
from anyformer.spelling import option

NUMBERED = re.compile(r"(.*?)(-?\d+(?:\.\d+)?)(\D*)")


def read_in_order(names: Sequence[str], ordered: bool | None, categories: bool, remarks: list[str]) -> bool:
    """Return True if the columns of numbers are read as a series; a remark says so, and how that is changed.

    Args:
        names: of the columns, in the order of the file.
        ordered: what the user said, None to tell by the names.
        categories: the rows have categories too, and so are records.

    Raises:
        ValueError: the user asks for a series where there are categories.
    """
    if categories:
        if ordered:
            raise ValueError(
                f"{option('ordered', True)} does not apply to rows with categories, which have no order"
            )
        return False
    if ordered is not None:
        return ordered
    steps = steps_of(names) if len(names) >= TAPS else []
    if not steps:
        return False
    told = f"the {len(names)} columns of numbers {names[0]!r} to {names[-1]!r} are numbered"
    found = min(steps) > 0 or max(steps) < 0
    remarks.append(
        f"{told}, and read as a series; {option('ordered', False)} reads each as a column of its own"
        if found
        else f"{told}, but not in order: each is a column of its own; {option('ordered', True)} reads a series"
    )
    return found


def steps_of(names: Sequence[str]) -> list[float]:
    """Return the steps from each name's number to the next, of names that differ in it alone; none of others."""
    parts = [NUMBERED.fullmatch(name) for name in names]
    if not all(parts) or len({(part[1], part[3]) for part in parts if part}) > 1:
        return []
    return [float(b[2]) - float(a[2]) for a, b in pairwise(parts) if a and b]
