"""Runs of the laws over ops, and their results."""

from __future__ import annotations

import time
from collections.abc import Iterable

from anyformer.laws.ops.cases import op_cases
from anyformer.laws.ops.numerics import spread_of, spreads
from anyformer.laws.registry import OP_LAWS
from anyformer.laws.run import Outcome, Result, run_law
from anyformer.registry import nearest


def op_names() -> list[str]:
    """Return the names of all ops that have an example call."""
    return sorted({case.op for case in op_cases()})


def check_op(name: str, only: Iterable[str] | None = None) -> list[Result]:
    """Run all laws, or those named in ``only``, on every example call of an op.

    Raises:
        ValueError: for an unknown op or law.
    """
    cases = op_cases(ops={name})
    if not cases:
        raise ValueError(f"unknown op {name!r}{nearest(name, op_names())}")
    laws = OP_LAWS.chosen(only)
    found = [run_law(law, case, f"op:{case}") for case in cases for law in laws]
    stated = spread_of(name) and any(law.id == "not finite" for law in laws)
    return found + ([_spread_result(name)] if stated else [])


def _spread_result(name: str) -> Result:
    """Check that an op which declares a spread of NaN does spread it: an excuse must be needed."""
    start, spread = time.perf_counter(), spread_of(name)
    assert spread is not None
    outcome: Outcome = "excused" if spreads(name) else "wrongly excused"
    detail = f"NaN spreads along axes {spread.axes} of outputs: {spread.reason}"
    return Result(f"op:{name}", "not finite", outcome, detail, time.perf_counter() - start)
