"""Runs of the laws over embedders."""

from __future__ import annotations

from collections.abc import Iterable

from anyformer.laws.embedders.cases import embedder_cases
from anyformer.laws.registry import EMBEDDER_LAWS
from anyformer.laws.run import Result, run_law


def check_embedder(target: str, only: Iterable[str] | None = None, *, dim: int = 16) -> list[Result]:
    """Run all laws over embedders, or those named in ``only``, on one of them; see :func:`embedder_cases`.

    Raises:
        ValueError: for an unknown embedder or law.
    """
    laws = EMBEDDER_LAWS.chosen(only)
    return [run_law(law, case, case.label) for case in embedder_cases(target, dim=dim) for law in laws]
