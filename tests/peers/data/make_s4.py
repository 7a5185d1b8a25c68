"""Writes s4.json: kernels and recurrences of the original S4, as numbers to compare with.

Run in a folder that holds models/s4/s4.py of github.com/state-spaces/s4 at commit
e757cef57d89e448c413de7325ed5601aceaac13 (its naive CPU paths need torch, numpy, scipy, einops, and a
pytorch_lightning, of which it uses only ``utilities.rank_zero_only``): python make_s4.py s4.json
"""

from __future__ import annotations

import json
import sys
from typing import Any

import s4
import torch
from torch import Tensor

CHANNELS, STATE, LENGTH, STEPS = 3, 8, 40, 20
FORMS = {
    "dplr": (s4.SSMKernelDPLR, {"init": "legs"}),
    "diagonal_lin": (s4.SSMKernelDiag, {"init": "diag-lin", "disc": "zoh"}),
    "diagonal_inv": (s4.SSMKernelDiag, {"init": "diag-inv", "disc": "zoh"}),
}


def pair(x: Tensor) -> dict[str, Any]:
    x = x.detach()
    return {"re": x.real.tolist(), "im": x.imag.tolist()}


@torch.no_grad()
def record(name: str) -> dict[str, Any]:
    cls, options = FORMS[name]
    kernel = cls(
        d_model=CHANNELS,
        d_state=STATE,
        l_max=LENGTH,
        dt_min=0.01,
        dt_max=0.3,
        backend="naive",
        verbose=False,
        **options,
    ).double()
    for parameter in kernel.parameters():
        parameter.add_(0.05 * torch.randn_like(parameter))
    found: dict[str, Any] = {
        "dt": kernel.inv_dt[:, 0].exp().tolist(),
        "spectrum": pair(torch.complex(-kernel.A_real.exp(), -kernel.A_imag)),
        "B": pair(s4._r2c(kernel.B)[0]),
        "C": pair(s4._r2c(kernel.C)[0]),  # before the kernel takes the factor 1 - A^L into it
    }
    if name == "dplr":
        found["P"] = pair(s4._r2c(kernel.P)[0])
    found["kernel"] = kernel(L=LENGTH)[0][0].tolist()
    kernel._setup_step()
    inputs = torch.randn(1, STEPS, CHANNELS, dtype=torch.float64)
    state, outputs = kernel.default_state(1).to(torch.complex128), []
    for t in range(STEPS):
        y, state = kernel.step(inputs[:, t], state)
        outputs.append(y.reshape(CHANNELS).real)
    return {**found, "input": inputs[0].tolist(), "output": torch.stack(outputs).tolist()}


if __name__ == "__main__":
    torch.manual_seed(7)
    results = {name: record(name) for name in FORMS}
    spectrum, P, _, _ = s4.nplr("legs", 16, dtype=torch.double)
    order = torch.argsort(-spectrum.imag)
    results["legs_16"] = {"imag": (-spectrum.imag)[order].tolist(), "P_abs": P[0].abs()[order].tolist()}
    with open(sys.argv[1], "w") as file:
        json.dump(results, file)
