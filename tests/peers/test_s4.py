"""Against numbers of the original S4; see data/make_s4.py for how they were made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from anyformer.layers.state_space import DiagonalSpace, LowRankSpace, hippo_legs
from anyformer.mixers import create_mixer

RECORDS: dict[str, Any] = json.loads((Path(__file__).parent / "data" / "s4.json").read_text())
FORMS = ["dplr", "diagonal_lin", "diagonal_inv"]


def number(x: dict[str, Any] | list[Any]) -> Tensor:
    if isinstance(x, dict):
        return torch.complex(number(x["re"]), number(x["im"]))
    return torch.tensor(x, dtype=torch.float64)


def space(record: dict[str, Any]) -> DiagonalSpace | LowRankSpace:
    spectrum, B, C, dt = (number(record[k]) for k in ("spectrum", "B", "C", "dt"))
    if "P" in record:
        return LowRankSpace(spectrum, number(record["P"]), B, C, dt)
    return DiagonalSpace(spectrum, B, C, dt)


@pytest.mark.parametrize("form", FORMS)
def test_kernel(form: str) -> None:
    torch.testing.assert_close(
        space(RECORDS[form]).kernel(40), number(RECORDS[form]["kernel"]), rtol=1e-9, atol=1e-12
    )


@pytest.mark.parametrize("form", FORMS)
def test_recurrence(form: str) -> None:
    record = RECORDS[form]
    system, state, outputs = space(record), torch.zeros(1, 3, 8, dtype=torch.float64), []
    for u in number(record["input"]):
        state = system.step(state, u[None])
        outputs.append((state * system.read).sum(-1)[0])
    torch.testing.assert_close(torch.stack(outputs), number(record["output"]), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("form", FORMS)
def test_mixer_convolves_with_that_kernel(form: str) -> None:
    """The mixer's parameters, filled with the original's, give its kernel."""
    record = RECORDS[form]
    mixer = create_mixer("s4", 3, state_dim=8, mode=form.split("_")[0]).double()
    with torch.no_grad():
        mixer.log_dt.copy_(number(record["dt"]).log())
        mixer.log_decay.copy_((-number(record["spectrum"]).real).log())
        mixer.frequency.copy_(number(record["spectrum"]).imag)
        for name in [n for n in ("B", "P") if n in record]:
            getattr(mixer, name).copy_(torch.view_as_real(number(record[name])))
        mixer.C.copy_(torch.view_as_real(number(record["C"]))[None])
        torch.testing.assert_close(mixer._space().kernel(40), number(record["kernel"]), rtol=1e-9, atol=1e-12)


def test_hippo() -> None:
    """The original diagonalises with less than full precision."""
    spectrum, P, _ = hippo_legs(16)
    torch.testing.assert_close(spectrum.imag, number(RECORDS["legs_16"]["imag"]), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(P, number(RECORDS["legs_16"]["P_abs"]), rtol=1e-5, atol=1e-5)
