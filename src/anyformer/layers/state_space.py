"""Linear time-invariant state spaces: x' = A x + B u, y = C x, one for each channel, as S4 discretises them.

A is diagonal, or diagonal minus a rank-one term P P^*. Of each conjugate pair of eigenvalues one is kept: N real
states are N / 2 complex ones, and y = 2 Re(C x). States and step matrices are real here: real parts, then imaginary
parts.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from anyformer.ops.long_conv import long_conv


class StateSpace(Protocol):
    """A linear state space, run as a convolution or as a recurrence; states (B, D, N) and ``read`` (D, N) are real."""

    read: Tensor

    def kernel(self, T: int) -> Tensor:
        """Return the impulse response, (D, T). Power i + C j is computed as the product of powers i and C j."""

    def columns(self, T: int) -> Tensor:
        """Return the state 0, 1, ... steps after one input of 1, (D, T, N)."""

    def rows(self, T: int) -> Tensor:
        """Return the vectors by which a state gives the output 1, 2, ... steps later, (D, T, N)."""

    def advance(self, x: Tensor, steps: Tensor) -> Tensor:
        """Return states x (B, D, N) after ``steps`` (B,) steps without input."""

    def step(self, x: Tensor, u: Tensor) -> Tensor:
        """Return states x (B, D, N) after one step with input u (B, D)."""


def run_space(space: StateSpace, u: Tensor, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Run a state space over new inputs.

    Args:
        u: inputs (B, T, D), zero after each sample's ``lengths`` (B,) int64.
        x: states (B, D, N) before them.

    Returns:
        y (B, T, D), undefined after ``lengths``, and the new states.
    """
    T = u.shape[1]
    if T == 0:
        return u, x
    if T == 1:
        new = space.step(x, u[:, 0])
        y = (new * space.read).sum(-1)[:, None]
        return y, torch.where((lengths > 0)[:, None, None], new, x)
    y = long_conv(u.mT, space.kernel(T)) + torch.einsum("dtn,bdn->bdt", space.rows(T), x)
    # each sample's inputs right-aligned, so that their ages agree
    place = torch.arange(T, device=u.device) - (T - lengths[:, None])
    late = u.gather(1, place.clamp_min(0)[..., None].expand_as(u)).masked_fill(place[..., None] < 0, 0)
    added = torch.einsum("dtn,btd->bdn", space.columns(T).flip(1), late)
    return y.mT, space.advance(x, lengths) + added


def hippo_legs(N: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return HiPPO-LegS (Gu 2020) as diagonal minus rank one (Gu 2022, theorem 1 and appendix C.1).

    Returns:
        N / 2 eigenvalues with positive imaginary part, complex128, and P and B in the eigenbasis, with phases such that
        both are real, float64.
    """
    n = torch.arange(N, dtype=torch.float64)
    P, B = (n + 0.5).sqrt(), (2 * n + 1).sqrt()
    outer = B[:, None] * B
    A = -(outer.tril(-1) + torch.diag(n + 1))
    skew = A + P[:, None] * P + 0.5 * torch.eye(N, dtype=torch.float64)
    imag, vectors = torch.linalg.eigh(-1j * skew)
    imag, vectors = imag[N // 2 :], vectors[:, N // 2 :]
    P = (vectors.conj().T @ P.to(vectors)).abs()
    return torch.complex(torch.full_like(imag, -0.5), imag), P, 2**0.5 * P


def diagonal_spectrum(name: str, N: int) -> Tensor:
    """Return N / 2 eigenvalues: S4D-Lin or S4D-Inv (Gu 2022, arXiv 2206.11893, eq. 8-9)."""
    n = torch.arange(N // 2, dtype=torch.float64)
    imag = torch.pi * n if name == "lin" else N / torch.pi * (N / (2 * n + 1) - 1)
    return torch.complex(torch.full_like(imag, -0.5), imag)


def hippo_legt(N: int, window: float) -> tuple[Tensor, Tensor]:
    """Return the state space of N Legendre coefficients of the last ``window`` of time (Voelker 2019, eq. 2).

    A_ij = (2i+1) / window * (-1 if i < j else (-1)^(i-j+1)), B_i = (2i+1) (-1)^i / window, discretised with steps of
    one (zero-order hold).

    Returns:
        A (N, N) and B (N,), float64.
    """
    n = torch.arange(N, dtype=torch.float64)
    rate, sign = (2 * n + 1) / window, (-1) ** (n[:, None] - n + 1)
    A = rate[:, None] * torch.where(n[:, None] < n, -1.0, sign)
    step = torch.linalg.matrix_exp(A)
    eye = torch.eye(N, dtype=torch.float64)
    return step, torch.linalg.solve(A, (step - eye) @ (rate * (-1) ** n))


def powers_along(first: Tensor, matrix: Tensor, T: int) -> Tensor:
    """Return first, first @ matrix, first @ matrix^2, ..., (..., T, N), for first (..., N) and one matrix (N, N)."""
    found = first[..., None, :]
    while found.shape[-2] < T:
        found = torch.cat((found, found @ matrix), -2)
        matrix = matrix @ matrix
    return found[..., :T, :]


class DiagonalSpace(StateSpace):
    """A diagonal state space, discretised by zero-order hold (S4D, arXiv 2206.11893).

    Args:
        spectrum: eigenvalues of A, (D, N / 2) complex, real parts negative.
        B, C: (D, N / 2) complex.
        dt: step sizes, (D,).
    """

    def __init__(self, spectrum: Tensor, B: Tensor, C: Tensor, dt: Tensor) -> None:
        self.exponent = spectrum * dt[:, None]
        self.B = B * torch.expm1(self.exponent) / spectrum
        self.C = C
        self.read = to_row(C)

    def kernel(self, T: int) -> Tensor:
        C = 1 << (T.bit_length() // 2)
        near = to_row(self._powers(0, C) * (self.B * self.C)[:, None])
        far = to_real(self._powers(0, T, C))
        return (far @ near.mT).flatten(1)[:, :T]

    def columns(self, T: int) -> Tensor:
        return to_real(self._powers(0, T) * self.B[:, None])

    def rows(self, T: int) -> Tensor:
        return to_row(self._powers(1, T + 1) * self.C[:, None])

    def advance(self, x: Tensor, steps: Tensor) -> Tensor:
        return to_real(to_complex(x) * (self.exponent * steps[:, None, None]).exp())

    def step(self, x: Tensor, u: Tensor) -> Tensor:
        return to_real(to_complex(x) * self.exponent.exp() + self.B * u[..., None])

    def _powers(self, start: int, stop: int, step: int = 1) -> Tensor:
        """Return the powers start, start + step, ... of the step's factors, (D, powers, N / 2)."""
        t = torch.arange(start, stop, step, device=self.B.device, dtype=self.B.real.dtype)
        return (self.exponent[:, None] * t[:, None]).exp()


class DecaySpace(StateSpace):
    """Independent real decays, x_t = a x_{t-1} + b u_t and y_t = c x_t.

    Args:
        log_decay: log a, (D, N), not positive.
        b, c: (D, N).
    """

    def __init__(self, log_decay: Tensor, b: Tensor, c: Tensor) -> None:
        self.log_decay, self.b, self.read = log_decay, b, c

    def kernel(self, T: int) -> Tensor:
        C = 1 << (T.bit_length() // 2)
        near = self._powers(0, C) * (self.b * self.read)[:, None]
        return (self._powers(0, T, C) @ near.mT).flatten(1)[:, :T]

    def columns(self, T: int) -> Tensor:
        return self._powers(0, T) * self.b[:, None]

    def rows(self, T: int) -> Tensor:
        return self._powers(1, T + 1) * self.read[:, None]

    def advance(self, x: Tensor, steps: Tensor) -> Tensor:
        return x * (self.log_decay * steps[:, None, None]).exp()

    def step(self, x: Tensor, u: Tensor) -> Tensor:
        return x * self.log_decay.exp() + self.b * u[..., None]

    def _powers(self, start: int, stop: int, step: int = 1) -> Tensor:
        """Return the powers start, start + step, ... of the decays, (D, powers, N)."""
        t = torch.arange(start, stop, step, device=self.b.device, dtype=self.b.dtype)
        return (self.log_decay[:, None] * t[:, None]).exp()


class LowRankSpace(StateSpace):
    """A diagonal minus P P^*, discretised by the bilinear transform (S4, arXiv 2111.00396, section 3 and appendix C).

    The original computes the kernel by its generating function and a Cauchy matrix (algorithm 1), for a fixed T and
    with the parameter C (1 - A^T). With C as the parameter that needs the powers of A too, and costs more.

    Args: as for :class:`DiagonalSpace`, and P (D, N / 2) complex.
    """

    def __init__(self, spectrum: Tensor, P: Tensor, B: Tensor, C: Tensor, dt: Tensor) -> None:
        self.spectrum, self.P, self.B, self.C = spectrum, P, B, C
        self.rate = 2 / dt[:, None]
        self.read = to_row(C)
        self.inverse = 1 / (self.rate - spectrum)
        self.correction = 1 + 2 * (P.abs().square() * self.inverse).real.sum(-1, keepdim=True)

    def _matrix(self) -> Tensor:
        """Return the step without input as a matrix, (D, N, N): x' = x @ matrix."""
        eye = torch.eye(self.B.shape[-1], dtype=self.B.dtype, device=self.B.device)
        basis = torch.cat((eye, 1j * eye))
        return to_real(self._step(basis[:, None], 0.0)).transpose(0, 1)

    def kernel(self, T: int) -> Tensor:
        C = 1 << (T.bit_length() // 2)
        near, power = self.read[:, None], self._matrix().mT
        while near.shape[1] < C:
            near, power = _double(near, power)
        far = _krylov(self._input(), power.mT, -(-T // C))
        return (far @ near.mT).flatten(1)[:, :T]

    def columns(self, T: int) -> Tensor:
        return _krylov(self._input(), self._matrix(), T)[:, :T]

    def rows(self, T: int) -> Tensor:
        matrix = self._matrix().mT
        return _krylov((self.read[:, None] @ matrix).squeeze(1), matrix, T)[:, :T]

    def advance(self, x: Tensor, steps: Tensor) -> Tensor:
        power, left = self._matrix(), steps
        for _ in range(int(steps.max()).bit_length() if steps.numel() else 0):
            moved = (x.unsqueeze(2) @ power).squeeze(2)
            x = torch.where((left % 2 == 1)[:, None, None], moved, x)
            left, power = left // 2, power @ power
        return x

    def step(self, x: Tensor, u: Tensor) -> Tensor:
        return to_real(self._step(to_complex(x), u[..., None]))

    def _input(self) -> Tensor:
        """Return the change of a state by one input of 1, (D, N)."""
        return to_real(self._step(torch.zeros_like(self.B), 1.0))

    def _step(self, x: Tensor, u: Tensor | float) -> Tensor:
        x = (self.rate + self.spectrum) * x - self.P * self._along_P(x) + 2 * self.B * u
        x = self.inverse * x
        return x - self.inverse * self.P * (self._along_P(x) / self.correction)

    def _along_P(self, x: Tensor) -> Tensor:
        return 2 * (self.P.conj() * x).real.sum(-1, keepdim=True)


def _double(found: Tensor, power: Tensor) -> tuple[Tensor, Tensor]:
    """Append n rows times ``power``, a matrix to the n, to them; return also its square, from the same product."""
    N = power.shape[-1]
    product = torch.cat((power, found), 1) @ power
    return torch.cat((found, product[:, N:]), 1), product[:, :N]


def _krylov(first: Tensor, matrix: Tensor, T: int) -> Tensor:
    """Return first, first @ matrix, first @ matrix^2, ..., (D, n, N), with n >= T."""
    found = first[:, None]
    while 2 * found.shape[1] < T:
        found, matrix = _double(found, matrix)
    return found if found.shape[1] >= T else torch.cat((found, found @ matrix), 1)


def to_real(x: Tensor) -> Tensor:
    """Convert (..., N / 2) complex to (..., N) real."""
    return torch.cat((x.real, x.imag), -1)


def to_complex(x: Tensor) -> Tensor:
    """Invert :func:`to_real`."""
    return torch.complex(*x.chunk(2, -1))


def to_row(C: Tensor) -> Tensor:
    """Return the real vector that gives 2 Re(C x) from a real state."""
    return torch.cat((2 * C.real, -2 * C.imag), -1)
