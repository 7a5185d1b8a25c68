"""Runs of the laws over heads."""

from __future__ import annotations

from collections.abc import Iterable

from anyformer.laws.heads.cases import head_cases
from anyformer.laws.registry import HEAD_LAWS
from anyformer.laws.run import Result, run_law


def check_head(target: str, only: Iterable[str] | None = None, *, dim: int = 16) -> list[Result]:
    """Run all laws over heads, or those named in ``only``, on one of them; see :func:`head_cases`.

    Raises:
        ValueError: for an unknown head or law.
    """
    laws = HEAD_LAWS.chosen(only)
    return [run_law(law, case, case.label) for case in head_cases(target, dim=dim) for law in laws]
