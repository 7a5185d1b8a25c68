"""Every registered part obeys every law that applies to it."""

from __future__ import annotations

import pytest

from anyformer.laws import LAWS, Case, all_targets, cases_of, check_case
from anyformer.ops import use_native

CASES = [case for target in all_targets() for case in cases_of(target)]


def test_every_registered_part_is_here() -> None:
    assert len(CASES) >= len(all_targets()) > 30


@pytest.mark.parametrize("native", [True, False], ids=["native", "pytorch"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.label)
def test_laws(case: Case, native: bool) -> None:
    with use_native(native):
        results = check_case(case)
    assert [r.law for r in results] == list(LAWS)
    assert not [f"{r.law} ({r.outcome}): {r.detail}" for r in results if not r.good]
