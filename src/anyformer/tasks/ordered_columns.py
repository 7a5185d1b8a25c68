"""Columns of numbers as a series in their order, or each with a meaning of its own."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

from anyformer.layers.rocket import TAPS
from anyformer.spelling import option

NUMBERED = re.compile(r"(.*?)(\d+(?:\.\d+)?)(\D*)")


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
    found = counts_up(names) if ordered is None else ordered
    if ordered is None and found:
        remarks.append(
            f"the {len(names)} columns of numbers {names[0]!r} to {names[-1]!r} are numbered, and read as a series; "
            f"{option('ordered', False)} reads each as a column of its own"
        )
    return found


def counts_up(names: Sequence[str]) -> bool:
    """Return True for nine names or more that differ only in numbers, which grow, or fall, from each to the next."""
    parts = [NUMBERED.fullmatch(name) for name in names]
    if len(names) < TAPS or not all(parts) or len({(part[1], part[3]) for part in parts if part}) > 1:
        return False
    steps = [float(b[2]) - float(a[2]) for a, b in pairwise(parts) if a and b]
    return min(steps) > 0 or max(steps) < 0
