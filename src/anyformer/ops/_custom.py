"""Custom operators from one description: the schema, the fake form, and the gradients' operator are derived."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from anyformer.ops._gate import Paths, refuses_raw_access
from anyformer.ops._memory import empty_dense

Tensors = Sequence[Tensor | None]


def gradients_like(*inputs: Any) -> list[Tensor | None]:
    """Allocate the gradients of the tensors among the inputs: contiguous, of their shapes and dtypes."""
    return [empty_dense(x) if isinstance(x, Tensor) else None for x in inputs]


def custom_op(
    forward: Paths | Callable[..., Any],
    name: str,
    *,
    outputs: Callable[..., Any],
    backward: Callable[..., Tensors],
    gradients: Callable[..., Tensors] = gradients_like,
    formula: Callable[..., Any] | None = None,
    again: Callable[..., Tensors] | None = None,
    keeps: Sequence[int] = (),
    constant: Sequence[int] = (),
) -> Callable[..., Any]:
    """Declare ``anyformer::NAME`` and ``anyformer::NAME_backward``, each one opaque node to compilers and exporters.

    Args:
        forward: a function, or paths, that computes the outputs: a tensor or a tuple of tensors, none of them an input
            or a view of one. The annotations of the function, or of the first path's ``run``, become the schema:
            tensors first, then the arguments without a gradient.
        outputs: allocates the outputs, with their sizes and strides, from the arguments of ``forward``. The fake form
            returns them; ``forward`` writes into them.
        backward: ``backward(grads, kept, needs, *given)`` returns the gradients of the tensors among ``given``, the
            arguments of ``forward``; None where one is not needed. ``grads``: the gradients of the outputs, None for an
            unused output; ``kept``: the outputs listed in ``keeps``; ``needs``: bools, which gradients are needed.
        gradients: allocates these gradients from the arguments of ``forward``.
        formula: the outputs by PyTorch's own operations, for second derivatives. Give this, or
        again: the gradients by PyTorch's own operations, with the arguments of ``backward``.
        keeps: indices of the outputs that the backward reads.
        constant: indices of the outputs that have no gradient.
    """
    annotated = forward.paths[0].run if isinstance(forward, Paths) else forward
    run = forward.__call__ if isinstance(forward, Paths) else forward
    schema = torch.library.infer_schema(annotated, mutates_args=())
    inside = schema[1 : schema.index(") ->")]
    count = sum(argument.startswith("Tensor") for argument in inside.split(", "))
    whole = torch.library.custom_op(f"anyformer::{name}", run, mutates_args=(), schema=schema)
    whole.register_fake(outputs)

    def fill(grads: Any, kept: Any, needs: Any, *args: Any) -> list[Tensor]:
        found = zip(backward(grads, kept, needs, *args), needs)
        return [grad for grad, need in found if need and grad is not None]

    def fake(grads: Any, kept: Any, needs: Any, *args: Any) -> list[Tensor]:
        return [grad for grad, need in zip(gradients(*args), needs) if need and grad is not None]

    lists = f"(Tensor?[] grads, Tensor[] kept, bool[] needs, {inside}) -> Tensor[]"
    adjoint = torch.library.custom_op(f"anyformer::{name}_backward", fill, mutates_args=(), schema=lists)
    adjoint.register_fake(fake)

    def save(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        found = (output,) if isinstance(output, Tensor) else output
        ctx.options = inputs[count:]
        ctx.set_materialize_grads(False)
        ctx.mark_non_differentiable(*(found[n] for n in constant))
        ctx.save_for_backward(*inputs[:count], *(found[n] for n in keeps))

    def differentiate(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        saved = ctx.saved_tensors  # under activation checkpointing they can be unpacked only once
        tensors, kept = saved[:count], saved[count:]
        needs, rest = ctx.needs_input_grad[:count], (None,) * len(ctx.options)
        if all(grad is None for grad in grads):
            return (None,) * count + rest
        if torch.is_grad_enabled():
            if again is not None:
                return *again(grads, kept, needs, *tensors, *ctx.options), *rest
            assert formula is not None
            return *gradients_again(lambda *t: formula(*t, *ctx.options), tensors, needs, *grads), *rest
        if (
            torch._C._len_torch_dispatch_stack() == 0 and refuses_raw_access(*tensors) is None
        ):  # no autograd or compiler has to see the operator
            own = backward(grads, kept, needs, *tensors, *ctx.options)
            return *(grad if need else None for grad, need in zip(own, needs)), *rest
        found = iter(adjoint(grads, kept, needs, *tensors, *ctx.options))
        return *(next(found) if need else None for need in needs), *rest

    whole.register_autograd(differentiate, setup_context=save)
    return whole


def gradients_again(
    formula: Callable[..., Tensor | Sequence[Tensor]],
    given: Tensors,
    needed: Sequence[bool],
    *grads: Tensor | None,
) -> list[Tensor | None]:
    """Return the needed gradients by PyTorch's own operations, so that they can be differentiated again.

    Args:
        formula: computes the outputs from ``given``, at least as many as ``grads``.
    """
    # separate tensors: an argument may have been computed from another, or be the same one
    own = [None if t is None else t.view_as(t) for t in given]
    wanted = [t for t, need in zip(own, needed, strict=True) if need and t is not None]
    outputs = formula(*own)
    outputs = (outputs,) if isinstance(outputs, Tensor) else outputs
    ends = [(y, g) for y, g in zip(outputs, grads) if g is not None and y.requires_grad]
    if not ends:
        return [None] * len(own)
    ys, gs = zip(*ends, strict=True)
    found = iter(torch.autograd.grad(ys, wanted, gs, create_graph=True, allow_unused=True))
    return [next(found) if need and t is not None else None for t, need in zip(own, needed, strict=True)]
