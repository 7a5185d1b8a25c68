"""Linear attention with a decaying state: S_t = exp(d_t) S_{t-1} + k_t v_t^T, y_t = q_t^T S_t.

No decay is Katharopoulos et al. (arXiv 2006.16236, eq. 16-20), a constant per head is retention (arXiv
2307.08621, eq. 5-7), a scalar per token Mamba-2 (arXiv 2405.21060), a vector per token GLA (arXiv 2312.06635).

The fast form cuts the length into chunks, takes all chunks at once, and carries the state between them with
:func:`anyformer.ops.scan.scan`. Only sums of log decays between two tokens are ever exponentiated, the later
minus the earlier, so that nothing overflows however strong the decay. With vector decays such a sum can't be
split into a factor for the query and one for the key, unless at a point between them: so a chunk is halved,
the pairs across the middle are a matrix product, and each half is halved again.

On the CPU the native kernel runs along the chunks of each head, 16 tokens at a time, with the state in cache. There
the writes decay step by step inside a chunk, so that only decays themselves are exponentiated.
"""

from __future__ import annotations

from array import array
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from anyformer import kernels
from anyformer.ops._base import ALONG_TIME, native_path, primitive
from anyformer.ops._eager import gradients_again
from anyformer.ops._layout import dense, room, rows
from anyformer.ops.scan import scan
from anyformer.precision import common, log_decays, no_autocast

CHUNK = 64
KEEP = 128
"""Tokens between two states that the native forward keeps for its backward, as in kernels/cpu/matrix_state.h."""


def linear_attention_definition(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    log_decay: Tensor | None = None,
    normalize: bool = False,
    scale: float | None = None,
    initial: Tensor | None = None,
    causal: bool = True,
) -> tuple[Tensor, Tensor]:
    """The loop; see :func:`linear_attention`."""
    q, k, v, d, S, dtype = _prepare(q, k, v, log_decay, normalize, initial, causal)
    q, v = _scale_and_count(q, v, scale, normalize)
    B, H, T, K = q.shape
    outputs = []
    for t in range(T):
        if d is not None:
            S = d[:, :, t].exp()[..., None] * S
        S = S + k[:, :, t, :, None] * v[:, :, t, None, :]
        outputs.append(torch.einsum("bhk,bhkv->bhv", q[:, :, t], S))
    if not causal:
        outputs = [torch.einsum("bhk,bhkv->bhv", q[:, :, t], S) for t in range(T)]
    return _finish(torch.stack(outputs, 2) if T else v, normalize, dtype), S


def linear_attention_flops(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    log_decay: Tensor | None = None,
    normalize: bool = False,
    scale: float | None = None,
    initial: Tensor | None = None,
    causal: bool = True,
) -> int:
    """The chunked form: scores and their product with v inside chunks, the state written and read."""
    B, H, T, K = q.shape
    V = v.shape[-1] + normalize
    inside = min(CHUNK, T) * (K + V) if causal and T > 1 else 0
    return 2 * B * H * T * (inside + 2 * K * V)


@primitive(
    "linear_attention",
    definition=linear_attention_definition,
    flops=linear_attention_flops,
    path=native_path("chunks", "chunks as batched matrix products in PyTorch"),
    spread=ALONG_TIME,
)
def linear_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    log_decay: Tensor | None = None,
    normalize: bool = False,
    scale: float | None = None,
    initial: Tensor | None = None,
    causal: bool = True,
) -> tuple[Tensor, Tensor]:
    """Attention whose past is a matrix: S_t = exp(d_t) S_{t-1} + k_t v_t^T, y_t = q_t^T S_t.

    Args:
        q, k: (B, H, T, K). v: (B, H, T, V).
        log_decay: d, at most zero: one for each head (H,), token (B, H, T) or channel (B, H, T, K); None for
            no decay. A token with k = v = d = 0 leaves the state as it is.
        normalize: divide by the sum of the weights, q_t^T z_t; z decays with S and is its last column.
            Where it is exactly zero the output is zero.
        scale: multiplies q; one if None.
        initial: the state before the first token, (B, H, K, V), or (B, H, K, V + 1) with ``normalize``.
        causal: with False every query reads the state after the last token; there is no decay then.

    Returns:
        y (B, H, T, V) in the dtype of v, and the state after the last token in at least float32.

    Raises:
        ValueError: if shapes don't fit, or a decay is given without ``causal``.
    """
    with no_autocast(q):
        q, k, v, d, S, dtype = _prepare(q, k, v, log_decay, normalize, initial, causal)
        T = q.shape[2]
        if T and causal and takes_kernels(q, k, v, d, S):
            y, S = _native(q, k, v, d, S, 1.0 if scale is None else scale, normalize)
        else:
            y, S = _in_pytorch(q, k, v, d, S, scale, normalize, causal)
        return y.to(dtype), S


def _prepare(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    log_decay: Tensor | None,
    normalize: bool,
    initial: Tensor | None,
    causal: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor, torch.dtype]:
    """Check and widen; the decay becomes (B, H, T, 1) or (B, H, T, K)."""
    dtype = v.dtype
    q, k, v, S = widened(q, k, v, initial, counted=normalize)
    B, H, T, K = q.shape
    d = log_decay
    if d is not None:
        if not causal:
            raise ValueError("log_decay must be None where causal=False: a decay needs an order")
        if d.shape not in ((H,), (B, H, T), (B, H, T, K)):
            shapes = f"({H},), ({B}, {H}, {T}) or ({B}, {H}, {T}, {K})"
            raise ValueError(f"log_decay must have shape {shapes}, got {tuple(d.shape)}")
        d = d[:, None, None].expand(B, H, T, 1) if d.dim() == 1 else d if d.dim() == 4 else d[..., None]
        d = d.to(q.dtype)
    return q, k, v, d, S, dtype


def widened(
    q: Tensor, k: Tensor, v: Tensor, initial: Tensor | None, *, counted: bool = False
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """q, k (B, H, T, K), v (B, H, T, V) and the first state (B, H, K, V), zeros where none is given, in one dtype.

    Args:
        counted: whether the state has a column more, for the sum of the weights.

    Raises:
        ValueError: if shapes don't fit.
    """
    if q.dim() != 4 or k.shape != q.shape:
        raise ValueError(
            f"q and k must share one shape (B, H, T, K), got {tuple(q.shape)} and {tuple(k.shape)}"
        )
    B, H, T, K = q.shape
    if v.dim() != 4 or v.shape[:3] != (B, H, T):
        raise ValueError(f"v must have shape ({B}, {H}, {T}, V), got {tuple(v.shape)}")
    shape = (B, H, K, v.shape[-1] + counted)
    if initial is not None and initial.shape != shape:
        raise ValueError(f"initial must have shape {shape}, got {tuple(initial.shape)}")
    float_ = common(q, v)
    q, k, v = (x.to(float_) for x in (q, k, v))
    return q, k, v, q.new_zeros(shape) if initial is None else initial.to(float_)


def _in_pytorch(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    d: Tensor | None,
    S: Tensor,
    scale: float | None,
    normalize: bool,
    causal: bool = True,
) -> tuple[Tensor, Tensor]:
    q, v = _scale_and_count(q, v, scale, normalize)
    T = q.shape[2]
    if T == 0:
        y, S = v, S
    elif not causal:
        S = S + k.mT @ v
        y = q @ S
    elif T == 1:
        S = k.mT * v + (S if d is None else d[:, :, 0].exp()[..., None] * S)
        y = q @ S
    else:
        y, S = _chunked(q, k, v, d, S)
    return _finish(y, normalize, y.dtype), S


def _scale_and_count(q: Tensor, v: Tensor, scale: float | None, normalize: bool) -> tuple[Tensor, Tensor]:
    """Scale the queries; append the column of ones that sums the weights."""
    return q if scale is None else q * scale, pad(v, (0, 1), value=1.0) if normalize else v


def _finish(y: Tensor, normalize: bool, dtype: torch.dtype) -> Tensor:
    if normalize:
        y, total = y[..., :-1], y[..., -1:]
        y = torch.where(total == 0, 0.0, y / torch.where(total == 0, 1.0, total))
    return y.to(dtype)


def _chunked(q: Tensor, k: Tensor, v: Tensor, d: Tensor | None, S: Tensor) -> tuple[Tensor, Tensor]:
    """All chunks at once: n of them, C tokens each (a power of two, or T where that is shorter)."""
    B, H, T, K = q.shape
    C = CHUNK if T > CHUNK else T if d is None or d.shape[-1] == 1 else 1 << (T - 1).bit_length()
    n = -(-T // C)
    q, k, v = (in_chunks(x, C) for x in (q, k, v))
    G = None if d is None else log_decays(in_chunks(d, C)).cumsum(3)

    if G is None:
        y = (q @ k.mT).tril() @ v
        written = k.mT @ v
        S_all = _carry(written.new_ones(1, 1, 1, 1, 1).expand(B, H, n, 1, 1), written, S)
    else:
        y = _inside_scalar(q, k, v, G) if G.shape[-1] == 1 else _inside_vector(q, k, v, G)
        last = G[:, :, :, -1:]
        written = (k * (last - G).to(k.dtype).exp()).mT @ v
        decay = last.to(k.dtype).exp().squeeze(3)[..., None]  # (B, H, n, 1 or K, 1)
        S_all = _carry(decay, written, S)
        q = q * G.to(q.dtype).exp()
    before = torch.cat((S[:, :, None], S_all[:, :, :-1]), 2)
    y = y + q @ before
    return y.flatten(2, 3)[:, :, :T], S_all[:, :, -1]


def in_chunks(x: Tensor, C: int) -> Tensor:
    """(B, H, T, W) to (B, H, n, C, W), the last chunk filled up with zeros."""
    n = -(-x.shape[2] // C)
    missing = n * C - x.shape[2]
    return (pad(x, (0, 0, 0, missing)) if missing else x).unflatten(2, (n, C))


def _carry(decay: Tensor, written: Tensor, S: Tensor) -> Tensor:
    """The state after each chunk, (B, H, n, K, V)."""
    B, H, n, K, V = written.shape
    if n == 1:
        return decay * S[:, :, None] + written
    if decay.shape[-2] == 1:
        after, _ = scan(decay.squeeze(-1), written.flatten(3), S.flatten(2))
        return after.unflatten(3, (K, V))
    after, _ = scan(decay.squeeze(-1).repeat_interleave(V, -1), written.flatten(3), S.flatten(2))
    return after.unflatten(3, (K, V))


def _inside_scalar(q: Tensor, k: Tensor, v: Tensor, G: Tensor) -> Tensor:
    C = q.shape[3]
    later = torch.ones(C, C, dtype=torch.bool, device=q.device).triu(1)
    weight = (G - G.mT).masked_fill(later, -torch.inf).to(q.dtype).exp()
    return ((q @ k.mT) * weight) @ v


def _inside_vector(q: Tensor, k: Tensor, v: Tensor, G: Tensor) -> Tensor:
    """Pairs across the middle of blocks of C, C/2, ..., 2 tokens, and each token with itself."""
    y = (q * k).sum(-1, keepdim=True) * v
    half = q.shape[3] // 2
    while half:
        blocks = (-1, 2, half)
        qs, ks, vs, Gs = (x.unflatten(3, blocks) for x in (q, k, v, G))
        middle = Gs[:, :, :, :, 0, -1:]
        late = qs[:, :, :, :, 1] * (Gs[:, :, :, :, 1] - middle).to(q.dtype).exp()
        early = ks[:, :, :, :, 0] * (middle - Gs[:, :, :, :, 0]).to(q.dtype).exp()
        across = (late @ early.mT) @ vs[:, :, :, :, 0]
        y = y + pad(across[:, :, :, :, None], (0, 0, 0, 0, 1, 0)).flatten(3, 5)
        half //= 2
    return y


def takes_kernels(*tensors: Tensor | None) -> bool:
    """Whether the native kernels run on these tensors; while compiling, as far as their types tell."""
    if not torch.compiler.is_compiling():
        return kernels.ready(*tensors)
    return _have_kernels() and all(
        x is None or (x.device.type == "cpu" and x.dtype in kernels.SUFFIXES and x.numel() > 0)
        for x in tensors
    )


@torch.compiler.assume_constant_result
def _have_kernels() -> bool:
    return kernels.status().library is not None


def needs_grad(*tensors: Tensor | None) -> bool:
    """Whether autograd, or a compiler, has to see an op on these tensors."""
    watched = torch.is_grad_enabled()
    return torch.compiler.is_compiling() or any(
        x is not None and ((watched and x.requires_grad) or type(x) is not Tensor) for x in tensors
    )


def _native(
    q: Tensor, k: Tensor, v: Tensor, d: Tensor | None, S: Tensor, scale: float, normalize: bool
) -> tuple[Tensor, Tensor]:
    inputs = (q, k, v, d, S)
    if needs_grad(*inputs):
        return _forward(*inputs, scale, normalize)[:2]
    y, final = room(v), torch.empty_like(S, memory_format=torch.contiguous_format)
    total = v.new_empty(q.shape[:3]) if normalize else None
    _run_forward(*inputs, scale, normalize, y, final, None, total)
    return y, final


def _outputs(q: Tensor, v: Tensor, S: Tensor, normalize: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """y, the state after the last token, states kept for the backward, sums of weights."""
    B, H, T, _ = q.shape
    return (
        room(v),
        torch.empty_like(S, memory_format=torch.contiguous_format),
        S.new_empty(B, H, (T - 1) // KEEP, *S.shape[2:]),
        v.new_empty(B, H, T if normalize else 0),
    )


def sizes(q: Tensor, v: Tensor, d: Tensor | None, normalize: bool, *others: Tensor | None) -> Tensor:
    """What kernels/cpu/heads.h reads: B, H, T, K, V, the kind of decay, strides over B, H and T of ``others``."""
    kind = 0 if d is None else 2 if d.shape[-1] > 1 else 1
    steps = [n for x in others for n in ((0, 0, 0) if x is None else x.stride()[:3])]
    numbers = array("q", [*q.shape, v.shape[-1], kind, normalize, *steps])
    return torch.frombuffer(numbers, dtype=torch.int64)  # a third of the time of torch.tensor


def _run_forward(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    d: Tensor | None,
    S: Tensor,
    scale: float,
    normalize: bool,
    *outputs: Tensor | None,
) -> None:
    q, k, v, d = rows(q), rows(k), rows(v), rows(d)
    layout = sizes(q, v, d, normalize, q, k, v, outputs[0], d)
    kernels.run("linear_attention", q, k, v, d, dense(S), *outputs, layout, float(scale))


@torch.library.custom_op("anyformer::linear_attention", mutates_args=())
def _forward(
    q: Tensor, k: Tensor, v: Tensor, d: Tensor | None, S: Tensor, scale: float, normalize: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    outputs = _outputs(q, v, S, normalize)
    _run_forward(q, k, v, d, S, scale, normalize, *outputs)
    return outputs


@_forward.register_fake
def _(
    q: Tensor, k: Tensor, v: Tensor, d: Tensor | None, S: Tensor, scale: float, normalize: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return _outputs(q, v, S, normalize)


@torch.library.custom_op("anyformer::linear_attention_backward", mutates_args=())
def _backward_op(
    grad: Tensor,
    grad_final: Tensor | None,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    d: Tensor | None,
    S: Tensor,
    y: Tensor,
    kept: Tensor,
    total: Tensor,
    scale: float,
    normalize: bool,
    wants_decay: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    grads = _gradients(q, k, v, d, S, wants_decay)
    grad_q, grad_k, grad_v, grad_d, grad_S = grads
    q, k, v, d, y, grad = rows(q), rows(k), rows(v), rows(d), rows(y), rows(grad)
    inputs = (q, k, v, d, dense(S), y, dense(kept), dense(total))
    coming = (grad, dense(grad_final))
    going = (grad_q, grad_k, grad_v, grad_d if wants_decay else None, grad_S)
    layout = sizes(q, v, d, normalize, q, k, v, y, d, grad, *grads[:3])
    kernels.run("linear_attention_backward", *inputs, *coming, *going, layout, float(scale))
    return grads


def _gradients(
    q: Tensor, k: Tensor, v: Tensor, d: Tensor | None, S: Tensor, wants_decay: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    grad_d = q.new_empty(d.shape if d is not None and wants_decay else 0)
    return room(q), room(k), room(v), grad_d, torch.empty_like(S, memory_format=torch.contiguous_format)


@_backward_op.register_fake
def _(
    grad: Tensor,
    grad_final: Tensor | None,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    d: Tensor | None,
    S: Tensor,
    y: Tensor,
    kept: Tensor,
    total: Tensor,
    scale: float,
    normalize: bool,
    wants_decay: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    return _gradients(q, k, v, d, S, wants_decay)


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    q, k, v, d, S, ctx.scale, ctx.normalize = inputs
    y, _, kept, total = output
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(q, k, v, d, S, y, kept, total)


def _backward(ctx: Any, grad: Tensor | None, grad_final: Tensor | None, *_: Any) -> tuple[Tensor | None, ...]:
    saved = ctx.saved_tensors
    if torch.is_grad_enabled():
        formula = partial(_in_pytorch, scale=ctx.scale, normalize=ctx.normalize)
        return *gradients_again(formula, saved[:5], ctx.needs_input_grad[:5], grad, grad_final), None, None
    grad = torch.zeros_like(saved[5]) if grad is None else grad
    wants_decay = ctx.needs_input_grad[3]
    grads = _backward_op(grad, grad_final, *saved, ctx.scale, ctx.normalize, wants_decay)
    return *grads[:3], grads[3] if wants_decay else None, grads[4], None, None


_forward.register_autograd(_backward, setup_context=_save)
