"""Identities of S4, and its study."""

from __future__ import annotations

import torch
from torch import Tensor

from anyformer.laws.checks import streams
from anyformer.laws.measures import close
from anyformer.layers.state_space import LowRankSpace, hippo_legs
from anyformer.mixers.state_space.s4 import S4
from anyformer_papers.identity import identity
from anyformer_papers.study import Study

study = Study(
    task="digits",
    arms={"hippo": "[s4(init=legs)]*2", "random": "[s4(init=random)]*2"},
    options={"patch": 1, "canvas": 10},
    smallest=0.02,
    steps=500,
    parameters=30_000,
)


def dense(N: int) -> tuple[Tensor, Tensor]:
    """HiPPO-LegS as it is defined (eq. 2): A and B."""
    n = torch.arange(N, dtype=torch.float64)
    B = (2 * n + 1).sqrt()
    return -(torch.outer(B, B).tril(-1) + torch.diag(n + 1)), B


@identity("diagonal minus rank one has the trace, the eigenvalues and the impulse response of HiPPO-LegS")
def reconstructs_hippo() -> None:
    N = 8
    A, B = dense(N)
    spectrum, P, b = hippo_legs(N)
    both = torch.cat((spectrum, spectrum.conj()))
    P, b = (torch.cat((t, t)).to(both) for t in (P, b))
    ours = torch.diag(both) - torch.outer(P, P)
    close("trace", ours.trace().real, A.trace())
    shift = 0.7 * torch.eye(N)
    close("characteristic polynomial", torch.linalg.det(ours - shift).real, torch.linalg.det(A - shift))
    power, power_ours = B, b
    for k in range(N):  # B^T A^k B, which no change of basis alters
        close(f"B^T A^{k} B", (b @ power_ours).real, B @ power, 1e-8)
        power, power_ours = A @ power, ours @ power_ours


@identity("Woodbury and four Cauchy sums at the roots of unity (algorithm 1) = the kernel C A^k B")
def cauchy() -> None:
    L, N, dt = 32, 16, torch.tensor([0.01, 0.1], dtype=torch.float64)
    spectrum, P, B = (t.to(torch.complex128).expand(2, -1) for t in hippo_legs(N))
    C = torch.randn(2, N // 2, dtype=torch.complex128)
    space = LowRankSpace(spectrum, P, B, C, dt)
    z = torch.exp(-2j * torch.pi * torch.arange(L, dtype=torch.float64) / L)
    g = (2 / dt[:, None] * (1 - z) / (1 + z + 1e-300))[:, :, None]  # the bilinear transform takes z to g
    full, p, b = (torch.cat((t, t.conj()), 1)[:, None] for t in (spectrum, P, B))
    power = torch.linalg.matrix_power(space._matrix(), L)
    real, imag = (space.read - (space.read[:, None] @ power.mT).squeeze(1)).chunk(2, -1)  # reads C (1 - A^L)
    half = torch.complex(real, -imag) / 2
    c = torch.cat((half, half.conj()), 1)[:, None]

    def sums(v: Tensor) -> Tensor:
        return (v / (g - full)).sum(-1)

    resolvent = sums(c * b) - sums(c * p) * sums(p.conj() * b) / (1 + sums(p.conj() * p))
    spectrum_of_kernel = 2 / (1 + z) * resolvent
    last = L // 2  # z = -1, where g is infinite: the limit is dt C B / 2
    spectrum_of_kernel[:, last] = (dt[:, None, None] / 2 * c * b).sum((1, 2))
    close("kernel", torch.fft.ifft(spectrum_of_kernel).real, space.kernel(L), 1e-8)


@identity("the convolution = the recurrence of the bilinear transform with a dense A")
def convolution_is_recurrence() -> None:
    mixer = S4(2, state_dim=8).double()
    space, dt = mixer._space(), mixer.log_dt.exp()
    assert isinstance(space, LowRankSpace)
    A, _ = dense(8)
    spectrum, P, B = (torch.cat((t, t.conj()), 1) for t in (space.spectrum, space.P, space.B))
    C = torch.cat((space.C, space.C.conj()), 1)
    for channel in range(2):
        full = torch.diag(spectrum[channel]) - torch.outer(P[channel], P[channel].conj())
        eye, half = torch.eye(len(full)), dt[channel] / 2 * full
        step = torch.linalg.solve(eye - half, eye + half)
        x, kernel = torch.linalg.solve(eye - half, dt[channel] * B[channel]), []
        for _ in range(30):
            kernel.append((C[channel] @ x).real)
            x = step @ x
        close("kernel", space.kernel(30)[channel], torch.stack(kernel))
    x = torch.randn(1, 30, 2, dtype=torch.float64)
    streams(mixer, x)
