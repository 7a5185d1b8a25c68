from __future__ import annotations

import pytest
import torch
from torch import Tensor

from anyformer.layers.state_space import (
    DiagonalSpace,
    LowRankSpace,
    diagonal_spectrum,
    hippo_legs,
    to_complex,
    to_real,
    to_row,
)

D, N = 3, 8


def make(form: str, dtype: torch.dtype = torch.float64) -> DiagonalSpace | LowRankSpace:
    torch.manual_seed(0)
    spectrum, P, B = (
        hippo_legs(N) if form == "low rank" else (diagonal_spectrum("inv", N), None, torch.ones(N // 2))
    )
    complex_ = torch.complex64 if dtype == torch.float32 else torch.complex128
    spectrum, B = (x.repeat(D, 1).to(complex_) for x in (spectrum, B))
    C = torch.randn(D, N // 2, dtype=torch.complex128).to(complex_)
    dt = torch.tensor([0.001, 0.03, 0.2], dtype=dtype)
    if P is None:
        return DiagonalSpace(spectrum, B, C, dt)
    return LowRankSpace(spectrum, P.repeat(D, 1).to(complex_), B, C, dt)


def impulse(space: DiagonalSpace | LowRankSpace, T: int) -> tuple[Tensor, Tensor]:
    """Outputs and states after an input of one and then zeros, step by step."""
    state = torch.zeros(1, D, N, dtype=torch.float64)
    states = []
    for t in range(T):
        state = space.step(state, torch.full((1, D), float(t == 0), dtype=torch.float64))
        states.append(state[0])
    found = torch.stack(states, 1)
    return torch.einsum("dtn,dn->dt", found, space.read), found


@pytest.mark.parametrize("form", ["low rank", "diagonal"])
@pytest.mark.parametrize("T", [1, 2, 63, 65, 130])
def test_kernel_and_columns_are_the_impulse_response(form, T):
    space = make(form)
    outputs, states = impulse(space, T)
    torch.testing.assert_close(space.kernel(T), outputs, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(space.columns(T), states, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("T", [2, 40, 64])
def test_kernel_by_the_generating_function(T):
    """Algorithm 1 of the S4 paper: at the roots of unity, Woodbury's identity and a Cauchy matrix."""
    space = make("low rank")
    powers = torch.linalg.matrix_power(space._matrix(), T)
    cut = space.read - (powers @ space.read[..., None]).squeeze(-1)  # C (1 - A^T)
    C = torch.complex(cut[:, : N // 2], -cut[:, N // 2 :]) / 2
    P, B, C, L = (torch.cat((x, x.conj()), -1) for x in (space.P, space.B, C, space.spectrum))
    root = torch.exp(-2j * torch.pi * torch.arange(T, dtype=torch.float64) / T)
    inverse = 1 / (space.rate[..., None] * (1 - root) - (1 + root) * L[..., None])  # (D, N, T)

    def product(left: Tensor, right: Tensor) -> Tensor:
        return ((left * right)[..., None] * inverse).sum(1)

    correction = (1 + root) * product(C, P) * product(P.conj(), B) / (1 + (1 + root) * product(P.conj(), P))
    kernel = torch.fft.ifft(2 * (product(C, B) - correction)).real
    torch.testing.assert_close(space.kernel(T), kernel, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("form", ["low rank", "diagonal"])
def test_rows_and_advance_are_steps_without_input(form):
    space = make(form)
    start = torch.randn(4, D, N, dtype=torch.float64)
    states = [start]
    for _ in range(9):
        states.append(space.step(states[-1], torch.zeros(4, D, dtype=torch.float64)))
    outputs = torch.stack([(s * space.read).sum(-1) for s in states[1:]], 1)
    torch.testing.assert_close(
        torch.einsum("dtn,bdn->btd", space.rows(9), start), outputs, rtol=1e-9, atol=1e-12
    )
    steps = torch.tensor([0, 1, 6, 9])
    expected = torch.stack([states[int(n)][i] for i, n in enumerate(steps)])
    torch.testing.assert_close(space.advance(start, steps), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("form", ["low rank", "diagonal"])
def test_float32_kernel(form):
    exact, narrow = make(form).kernel(1000), make(form, torch.float32).kernel(1000)
    assert (narrow - exact).abs().max() < 1e-5 * exact.abs().max()


def test_hippo_has_the_spectrum_of_the_triangular_matrix():
    """The eigenvalues of HiPPO-LegS are -1, ..., -N, also when it is diagonal minus rank one."""
    spectrum, P, B = hippo_legs(N)
    full, P = torch.cat((spectrum, spectrum.conj())), torch.cat((P, P)).to(spectrum)
    eigenvalues = torch.linalg.eigvals(torch.diag(full) - P[:, None] * P)
    torch.testing.assert_close(eigenvalues.real.sort().values, -torch.arange(N, 0, -1.0, dtype=torch.float64))
    assert eigenvalues.imag.abs().max() < 1e-6
    torch.testing.assert_close(2 * B.square().sum(), torch.tensor(float(N * N), dtype=torch.float64))


def test_spectra():
    n = torch.arange(N // 2, dtype=torch.float64)
    torch.testing.assert_close(diagonal_spectrum("lin", N).imag, torch.pi * n)
    torch.testing.assert_close(diagonal_spectrum("inv", N).imag[0].item(), N / torch.pi * (N - 1))


def test_real_states():
    x = torch.randn(5, 4, dtype=torch.complex128)
    C = torch.randn(5, 4, dtype=torch.complex128)
    assert torch.equal(to_complex(to_real(x)), x)
    torch.testing.assert_close((to_real(x) * to_row(C)).sum(-1), 2 * (C * x).real.sum(-1))
