"""An MLP along one axis of a grid."""

from __future__ import annotations

import math
from typing import Any, Literal

from torch import Tensor
from torch.nn.functional import gelu, pad

from anyformer.contract import Inputs, Mixer, MixerInfo
from anyformer.layers.grid import Grid, fold, read_grid, unfold
from anyformer.layers.linear import Linear
from anyformer.layers.softmax_gate import SoftmaxGate
from anyformer.mixers import register_mixer

GATES = ("none", "before", "after")


@register_mixer(
    "axis_mlp",
    examples=[
        {"grid": 4, "causal": False},
        {"grid": 5, "gate": "after", "causal": False},
        {"grid": "2x3", "axis": 2, "causal": False},
        {"grid": 4, "axis": 0, "rows": 16, "gate": "before", "causal": False},
    ],
)
class AxisMLP(Mixer):
    """Two linear maps with GELU between, along an axis of a grid, for each channel and line (Tolstikhin et al. 2021).

    y = W_2 gelu(W_1 x + b_1) + b_2 of the N cells x of a line, as in the patch and channel mixing of TSMixer
    (Ekambaram et al. 2023, section 3.2), which gates them too. Cells that a sequence does not reach are zero.

    Args:
        grid: the sizes of all axes but the first, see :mod:`anyformer.layers.grid`.
        rows: the size of the first axis, which an MLP along it needs.
        axis: the number of the axis.
        factor: hidden width over N.
        gate: a :class:`anyformer.layers.softmax_gate.SoftmaxGate` over the cells, ``before`` or ``after`` the MLP.
    """

    class Options(Mixer.Options):
        grid: Grid = 8
        rows: int | None = None
        axis: int = 1
        factor: float = 2
        gate: Literal["none", "before", "after"] = "none"

        @property
        def cells(self) -> int:
            """The size N of the axis."""
            sizes = (self.rows or 0, *read_grid(self.grid))
            if not 0 <= self.axis < len(sizes):
                raise ValueError(f"axis must be from 0 to {len(sizes) - 1} on this grid, got {self.axis}")
            if sizes[self.axis] < 1:
                raise ValueError(f"rows must be the size of the first axis for axis=0, got {self.rows}")
            return sizes[self.axis]

        def info(self) -> MixerInfo:
            self.needs_causal(False, "an MLP maps all cells of a line to all")
            if self.gate not in GATES:
                raise ValueError(f"gate must be none, before or after, got {self.gate!r}")
            if self.cells * self.factor < 1:
                raise ValueError(f"factor must leave a hidden width of at least 1, got {self.factor}")
            apart = math.prod(read_grid(self.grid)[self.axis :])
            reach = (self.cells - 1) * apart
            return MixerInfo(
                reach=(reach, reach), grid=True, max_length=None if self.axis else self.cells * apart
            )

    options: Options

    def __init__(self, dim: int, **options: Any) -> None:
        super().__init__(dim, **options)
        o = self.options
        self.sizes, self.axis, self.cells = read_grid(o.grid), o.axis, o.cells
        hidden = int(self.cells * o.factor)
        self.up, self.down = Linear(self.cells, hidden), Linear(hidden, self.cells)
        self.gate = None if o.gate == "none" else SoftmaxGate(self.cells)

    def _forward(self, x: Tensor, inputs: Inputs) -> Tensor:
        lines = fold(x, self.sizes).movedim(self.axis + 1, -1)  # (B, other axes, D, N)
        found = lines.shape[-1]
        y = pad(lines, (0, self.cells - found)) if found < self.cells else lines
        if self.gate is not None and self.options.gate == "before":
            y = self.gate(y)
        y = self.down(gelu(self.up(y)))
        if self.gate is not None and self.options.gate == "after":
            y = self.gate(y)
        return unfold(y[..., :found].movedim(-1, self.axis + 1), x.shape[1], self.sizes)
