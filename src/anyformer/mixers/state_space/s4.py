"""S4: a linear time-invariant state space per channel, run as a long convolution or as a recurrence."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, glu

from anyformer.contract import Inputs, Mixer, MixerInfo
from anyformer.layers.linear import Linear
from anyformer.layers.state_space import DiagonalSpace, LowRankSpace, diagonal_spectrum, hippo_legs, run_space
from anyformer.mixers import register_mixer
from anyformer.ops.long_conv import long_conv
from anyformer.precision import no_autocast, wide
from anyformer.registry import nearest
from anyformer.state import State

INITS = {"dplr": ["legs", "random"], "diagonal": ["lin", "inv", "legs"]}


@register_mixer(
    "s4",
    examples=[
        {"state_dim": 8},
        {"state_dim": 8, "init": "random"},
        {"state_dim": 6, "causal": False},
        {"state_dim": 8, "mode": "diagonal"},
        {"state_dim": 6, "mode": "diagonal", "init": "inv", "causal": False},
    ],
)
class S4(Mixer):
    """A structured state space per channel, then gelu, a linear map and a gate (Gu 2022, arXiv 2111.00396).

    x' = A x + B u, y = C x + D u.

    Training runs the convolution, streaming the recurrence of the same matrices. Our N is ``state_dim``, our ``skip``
    the paper's D. The parameter is C itself, where the original has C (1 - A^L) for a fixed length L: the kernel does
    not depend on a length.

    Args:
        state_dim: real states of each channel, N, even.
        mode: ``dplr``, diagonal plus low rank by the bilinear transform (S4); or ``diagonal`` by zero-order hold
            (S4D, arXiv 2206.11893).
        init: initial A: ``legs`` (HiPPO-LegS); for dplr also ``random``, a random stable A of the same form (the
            ablation of section 4.4); for diagonal also ``lin``, its default, and ``inv``.
        dt_min, dt_max: range of the initial step sizes.
    """

    class Options(Mixer.Options):
        state_dim: int = 64
        mode: str = "dplr"
        init: str | None = None
        dt_min: float = 1e-3
        dt_max: float = 0.1

        def info(self) -> MixerInfo:
            return MixerInfo(
                reach=(None, 0 if self.causal else None),
                cost="n log n",
                state="constant" if self.causal else "none",
            )

    options: Options

    def __init__(self, dim: int, **options: Any) -> None:
        super().__init__(dim, **options)
        o = self.options
        if o.mode not in INITS:
            raise ValueError(f"unknown mode {o.mode!r}{nearest(o.mode, list(INITS))}")
        init = INITS[o.mode][0] if o.init is None else o.init
        if init not in INITS[o.mode]:
            raise ValueError(
                f"init must be one of {', '.join(INITS[o.mode])} with mode={o.mode!r}, got {init!r}"
            )
        if o.state_dim < 2 or o.state_dim % 2:
            raise ValueError(f"state_dim must be even and at least 2, got {o.state_dim}")
        if not 0 < o.dt_min <= o.dt_max:
            raise ValueError(f"dt_min must be positive and at most dt_max={o.dt_max}, got {o.dt_min}")
        self.state_dim, self.causal = o.state_dim, o.causal
        M, default = o.state_dim // 2, torch.get_default_dtype()
        if init == "legs":
            spectrum, P, B = hippo_legs(o.state_dim)
        elif init == "random":
            decay, turn = torch.randn(2, M, dtype=wide(default)).exp()
            spectrum = torch.complex(-decay / 2, turn * torch.pi)
            P, B = torch.randn(M), torch.ones(M)
        else:
            spectrum, P, B = diagonal_spectrum(init, o.state_dim), torch.zeros(M), torch.ones(M)
        self.log_dt = nn.Parameter(torch.empty(dim).uniform_(math.log(o.dt_min), math.log(o.dt_max)))
        self.log_decay = nn.Parameter((-spectrum.real).log().to(default).repeat(dim, 1))
        self.frequency = nn.Parameter(spectrum.imag.to(default).repeat(dim, 1))
        self.P = nn.Parameter(_pairs(P, dim)) if o.mode == "dplr" else None
        self.B = nn.Parameter(_pairs(B, dim))
        self.C = nn.Parameter(torch.randn(1 if o.causal else 2, dim, M, 2) * 0.5**0.5)
        self.skip = nn.Parameter(torch.randn(dim))
        self.out = Linear(dim, 2 * dim)

    def hints(self) -> dict[str, dict[str, Any]]:
        """Return a lower learning rate and no weight decay for the state space, as in the original's recipes."""
        names = ("log_dt", "log_decay", "frequency", "B", *(["P"] if self.P is not None else []))
        return {
            **{n: {"decay": False, "lr_scale": 0.25} for n in names},
            "C": {"decay": False},
            "skip": {"decay": False},
        }

    def _space(self, direction: int = 0) -> DiagonalSpace | LowRankSpace:
        float_ = wide(self.log_dt.dtype)
        B, C = _complex(self.B, float_), _complex(self.C[direction], float_)
        spectrum = torch.complex(-self.log_decay.to(float_).exp(), self.frequency.to(float_))
        dt = self.log_dt.to(float_).exp()
        if self.P is None:
            return DiagonalSpace(spectrum, B, C, dt)
        return LowRankSpace(spectrum, _complex(self.P, float_), B, C, dt)

    def _finish(self, y: Tensor, x: Tensor) -> Tensor:
        return glu(self.out(gelu((y + x * self.skip).to(x.dtype))))

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        T = x.shape[1]
        if T == 0:
            return x
        with no_autocast(x):
            kernel = self._space().kernel(T)
            if not self.causal:  # the backward kernel starts at the next token
                kernel = torch.cat((self._space(1).kernel(T)[:, : T - 1].flip(-1), kernel), 1)
        return self._finish(long_conv(x.mT, kernel, causal=self.causal).mT, x)

    def _init_state(self, batch_size: int, device: torch.device, dtype: torch.dtype) -> State:
        return {"x": torch.zeros(batch_size, self.dim, self.state_dim, device=device, dtype=wide(dtype))}

    def _stream(self, x: Tensor, state: State, inputs: Inputs) -> tuple[Tensor, State]:
        if x.shape[1] == 0:
            return x, state
        with no_autocast(x):
            y, new = run_space(self._space(), x.to(state["x"].dtype), state["x"], inputs.lengths)
        return self._finish(y, x), {"x": new}


def _pairs(x: Tensor, dim: int) -> Tensor:
    """Return real numbers x (M,) as complex ones in pairs, repeated per channel: (dim, M, 2)."""
    return torch.stack((x, torch.zeros_like(x)), -1).to(torch.get_default_dtype()).repeat(dim, 1, 1)


def _complex(x: Tensor, dtype: torch.dtype) -> Tensor:
    return torch.view_as_complex(x.to(dtype).contiguous())
