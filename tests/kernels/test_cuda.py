"""Triton's interpreter runs the kernels for CUDA on the CPU. Where there is a GPU, `anyformer check --device cuda` does
more."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

from anyformer.kernels import cuda

SCRIPT = """
import torch
from anyformer.kernels.cuda import selective_scan as kernel
from anyformer.ops.selective_scan import selective_scan_definition

for B, T, D, K in ((2, 70, 5, 3), (1, 2, 1, 4), (1, 33, 17, 16)):
    torch.manual_seed(T)
    x, dt, grad = torch.randn(3, B, T, D, dtype=torch.float64)
    A, dt = -torch.rand(D, K, dtype=torch.float64), dt.exp()
    B_, C_ = torch.randn(B, T, 2 * K, dtype=torch.float64).split(K, -1)
    initial, grad_last = torch.randn(2, B, D, K, dtype=torch.float64)
    given = [t.clone().requires_grad_() for t in (x, dt, A, B_, C_, initial)]
    a, b, c, d, e, h = given
    y, last = selective_scan_definition(a.mT, b.mT, c, d.mT, e.mT, initial=h)
    (y.mT * grad).sum().backward(retain_graph=True)
    (last * grad_last).sum().backward()
    out, end, starts = kernel.forward(dt * x, dt, A, B_, C_, initial, True)
    torch.testing.assert_close(out, y.mT.detach())
    torch.testing.assert_close(end, last.detach())
    again, grad_u, grad_dt, *others = kernel.backward(grad, grad_last, dt * x, dt, A, B_, C_, starts)
    torch.testing.assert_close(again, out)
    found = (grad_u * dt, grad_dt + grad_u * x, *others)
    for name, got, wanted in zip("x dt A B_ C_ initial".split(), found, given, strict=True):
        torch.testing.assert_close(got, wanted.grad, msg=lambda m: name + ": " + m)
print("agrees")
"""


def test_refuses_what_is_on_the_cpu() -> None:
    assert cuda.refuses(torch.zeros(2)) == "the Triton kernels are for CUDA"


def test_selective_scan_agrees_with_the_definition() -> None:
    pytest.importorskip("triton")
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    command = [sys.executable, "-c", SCRIPT]
    result = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert result.stdout.strip().endswith("agrees"), result.stderr[-2000:]
