"""Runs of the laws: their outcomes, excuses and errors."""

from __future__ import annotations

import pytest
import torch

from anyformer import MixerInfo
from anyformer.laws import Case, Law, LawBroken, check_case, check_mixer, check_op, op_names
from anyformer.laws.faults import Sound
from anyformer.laws.run import run_law


class Excused(Sound):
    """Excuses a law that it obeys."""

    class Options(Sound.Options):
        def info(self) -> MixerInfo:
            return MixerInfo(reach=(None, 0), state="constant", exceptions={"modes": "no reason"})


def test_an_excused_law_must_fail() -> None:
    with pytest.raises(LawBroken, match="wrongly excused"):
        check_mixer(Excused, only=["modes"])


def law(check) -> Law:
    return Law("mine", "here", check)


def breaks(case: int) -> None:
    raise LawBroken("two is not one")


def fails(case: int) -> None:
    raise RuntimeError("no memory")


@pytest.mark.parametrize(
    "check, excuse, outcome, detail",
    [
        (lambda case: None, None, "holds", ""),
        (lambda case: False, None, "does not apply", ""),
        (lambda case: False, "rounding", "does not apply", ""),
        (breaks, None, "broken", "two is not one"),
        (fails, None, "broken", "RuntimeError: no memory"),
        (breaks, "rounding", "excused", "rounding"),
        (
            lambda case: True,
            "rounding",
            "wrongly excused",
            "info.exceptions excuses it (rounding), but it holds",
        ),
    ],
)
def test_outcomes(check, excuse: str | None, outcome: str, detail: str) -> None:
    found = run_law(law(check), 1, "one", excuse)
    assert (found.case, found.law, found.outcome, found.detail) == ("one", "mine", outcome, detail)
    assert found.good == (outcome in ("holds", "does not apply", "excused"))


def test_random_numbers_are_the_same_every_time_and_the_callers_stay() -> None:
    drawn: list[float] = []
    torch.manual_seed(7)
    before = torch.random.get_rng_state()
    for _ in range(2):
        run_law(law(lambda case: drawn.append(torch.rand(1).item())), 1, "one")
    assert drawn[0] == drawn[1] and torch.equal(torch.random.get_rng_state(), before)


def test_unknown_laws_are_refused() -> None:
    case = Case("sound", lambda: Sound(4))
    with pytest.raises(ValueError, match="unknown law 'stremaing'; did you mean 'streaming'"):
        check_case(case, ["stremaing"])
    with pytest.raises(ValueError, match="unknown op 'linear_atention'; did you mean 'linear_attention'"):
        check_op("linear_atention")
    assert {"attention", "scan"} <= set(op_names())
