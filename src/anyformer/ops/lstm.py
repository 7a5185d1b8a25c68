"""The LSTM: a recurrence whose gates depend on its own last output.

i, f, o = sigmoid, g = tanh of W x_t + U y_{t-1} + b;  c_t = f * c_{t-1} + i * g,  y_t = o * tanh(c_t)
(Hochreiter 1997, with the forget gates of Gers 2000.) It is nonlinear in its state, so no
scan computes it; the fast form is PyTorch's loop in C++.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from anyformer.ops._base import primitive
from anyformer.ops._gate import Path, Paths
from anyformer.precision import common, no_autocast


class LstmState(NamedTuple):
    """The last output y (B, F) and the cell c (B, F)."""

    y: Tensor
    c: Tensor


def lstm_definition(
    x: Tensor,
    weight: Tensor,
    recurrent: Tensor,
    bias: Tensor,
    *,
    initial: LstmState | None = None,
    lengths: Tensor | None = None,
) -> tuple[Tensor, LstmState]:
    """The loop; see :func:`lstm`."""
    x, weight, recurrent, bias, (y, c), dtype = _prepare(x, weight, recurrent, bias, initial)
    inputs, outputs = x @ weight.mT + bias, []
    for t in range(x.shape[1]):
        i, f, g, o = (inputs[:, t] + y @ recurrent.mT).chunk(4, -1)
        new_c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        new_y = o.sigmoid() * new_c.tanh()
        if lengths is not None:
            real = (t < lengths)[:, None]
            new_c, new_y = torch.where(real, new_c, c), torch.where(real, new_y, y)
        y, c = new_y, new_c
        outputs.append(y if lengths is None else torch.where(real, y, 0.0))
    whole = torch.stack(outputs, 1) if outputs else inputs[..., : y.shape[1]]
    return whole.to(dtype), LstmState(y, c)


def lstm_flops(x: Tensor, weight: Tensor, recurrent: Tensor, *_: Any, **__: Any) -> int:
    """Return the FLOPs: the two products of a step, and ten operations per cell."""
    B, T, D = x.shape
    F = recurrent.shape[1]
    return B * T * (8 * F * (D + F) + 10 * F)


@primitive(
    "lstm",
    definition=lstm_definition,
    flops=lstm_flops,
)
def lstm(
    x: Tensor,
    weight: Tensor,
    recurrent: Tensor,
    bias: Tensor,
    *,
    initial: LstmState | None = None,
    lengths: Tensor | None = None,
) -> tuple[Tensor, LstmState]:
    """Run an LSTM over a sequence.

    Args:
        x: (B, T, D).
        weight, recurrent, bias: W (4F, D), U (4F, F), b (4F), gates in the order i, f, g, o, as in PyTorch.
        initial: the state before the first token; zeros if None.
        lengths: (B,) int64, number of real tokens; the padding after them changes nothing and gets zeros. None if all
            are real.

    Returns:
        y (B, T, F) in the dtype of x, and the state after the last real token in at least float32.

    Raises:
        ValueError: if shapes don't fit.
    """
    found: tuple[Tensor, LstmState] = _PATHS(x, weight, recurrent, bias, initial, lengths)
    return found


def _refuses(x: Tensor, *_: object) -> str | None:
    if torch.compiler.is_compiling():
        return "torch.compile cannot trace PyTorch's loop"
    return "x is empty" if x.numel() == 0 else None


def _torch_lstm(
    x: Tensor,
    weight: Tensor,
    recurrent: Tensor,
    bias: Tensor,
    initial: LstmState | None,
    lengths: Tensor | None,
) -> tuple[Tensor, LstmState]:
    with no_autocast(x):
        x, weight, recurrent, bias, (y, c), dtype = _prepare(x, weight, recurrent, bias, initial)
        weights = _one_chunk([weight, recurrent, bias, torch.zeros_like(bias)])
        options = (
            True,
            1,
            0.0,
            torch.is_grad_enabled(),
            False,
        )  # has_biases, num_layers, dropout, train, bidirectional
        if lengths is None:
            out, y, c = torch.lstm(x, (y[None], c[None]), weights, *options, True)
            return out.to(dtype), LstmState(y[0], c[0])
        rows = lengths.nonzero()[:, 0]
        out = x.new_zeros(*x.shape[:2], y.shape[1])
        if len(rows) == 0:
            return out.to(dtype), LstmState(y, c)
        packed = pack_padded_sequence(x[rows], lengths[rows].cpu(), batch_first=True, enforce_sorted=False)
        order, back = packed.sorted_indices, packed.unsorted_indices
        assert order is not None and back is not None
        hidden = (y[rows][order][None], c[rows][order][None])
        data, last_y, last_c = torch.lstm(packed.data, packed.batch_sizes, hidden, weights, *options)
        found, _ = pad_packed_sequence(
            PackedSequence(data, packed.batch_sizes, order, back), batch_first=True, total_length=x.shape[1]
        )
        state = LstmState(y.index_copy(0, rows, last_y[0][back]), c.index_copy(0, rows, last_c[0][back]))
        return out.index_copy(0, rows, found).to(dtype), state


_PATHS = Paths(
    "lstm",
    Path("torch.lstm", "PyTorch's loop, in C++", _torch_lstm, _refuses),
    Path(
        "loop",
        "the loop of the definition, unrolled by torch.compile",
        lambda *args: lstm_definition(*args[:4], initial=args[4], lengths=args[5]),
    ),
)


def _one_chunk(weights: list[Tensor]) -> list[Tensor]:
    """Return the weights, on CUDA as views of one contiguous buffer, which cuDNN needs."""
    if not weights[0].is_cuda:
        return weights
    parts = torch.cat([t.flatten() for t in weights]).split([t.numel() for t in weights])
    return [part.view_as(t) for part, t in zip(parts, weights, strict=True)]


def _prepare(
    x: Tensor, weight: Tensor, recurrent: Tensor, bias: Tensor, initial: LstmState | None
) -> tuple[Tensor, Tensor, Tensor, Tensor, LstmState, torch.dtype]:
    """Check and widen the arguments."""
    if x.dim() != 3 or recurrent.dim() != 2 or recurrent.shape[0] != 4 * recurrent.shape[1]:
        raise ValueError(
            "x must have shape (B, T, D) and recurrent (4F, F), "
            f"got {tuple(x.shape)} and {tuple(recurrent.shape)}"
        )
    B, _, D = x.shape
    F = recurrent.shape[1]
    for name, t, shape in (("weight", weight, (4 * F, D)), ("bias", bias, (4 * F,))):
        if tuple(t.shape) != shape:
            raise ValueError(f"{name} must have shape {shape}, got {tuple(t.shape)}")
    float_ = common(x, weight)
    if initial is None:
        zeros = torch.zeros(B, F, dtype=float_, device=x.device)
        initial = LstmState(zeros, zeros)
    for name, t in zip(("initial.y", "initial.c"), initial):
        if tuple(t.shape) != (B, F):
            raise ValueError(f"{name} must have shape ({B}, {F}), got {tuple(t.shape)}")
    state = LstmState(initial[0].to(float_), initial[1].to(float_))
    return *(t.to(float_) for t in (x, weight, recurrent, bias)), state, x.dtype  # type: ignore[return-value]
