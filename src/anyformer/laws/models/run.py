"""Runs of the laws over whole models."""

from __future__ import annotations

from collections.abc import Iterable

from anyformer.laws.models.cases import model_cases
from anyformer.laws.registry import MODEL_LAWS
from anyformer.laws.run import Result, exact, run_law


def check_model(
    target: str, only: Iterable[str] | None = None, *, dim: int = 16, device: str = "cpu"
) -> list[Result]:
    """Run all laws over whole models, or those named in ``only``, on a named model.

    Raises:
        ValueError: for an unknown law.
    """
    laws = MODEL_LAWS.chosen(only)
    with exact(device):
        return [
            run_law(law, case, case.label)
            for case in model_cases(target, dim=dim, device=device)
            for law in laws
        ]
