"""When ops may run outside PyTorch's own operations, and how their gradients are taken once more."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from anyformer import kernels

_PLAIN = frozenset((Tensor, nn.Parameter, type(None)))
_transformed: Callable[[], bool] = torch._C._are_functorch_transforms_active


def transformed() -> bool:
    """Whether forward-mode derivatives or a transform of ``torch.func`` may be asked for: our kernels and custom ops
    know the derivatives of ``backward`` only, PyTorch's own operations, of which definitions are made, all of them."""
    return forward_ad._current_level >= 0 or _transformed()


def plain(*tensors: Tensor | None) -> bool:
    """Whether these are plain tensors, and no compiler and no ``torch.func`` is looking, which would rather see
    PyTorch's own operations.

    (Our small autograd functions have the form of ``forward`` that takes ctx: for the other one PyTorch looks up its
    signature at every call, which costs a small model an eighth of its step.)
    """
    return not (torch.compiler.is_compiling() or _transformed()) and _PLAIN.issuperset(map(type, tensors))


def native(*tensors: Tensor | None) -> bool:
    """Whether the kernels take these tensors as they come."""
    return plain(*tensors) and kernels.ready(*tensors)


def tracked(*tensors: Tensor | None) -> bool:
    """Whether a gradient of any is asked for."""
    if not torch.is_grad_enabled():
        return False
    return any(t is not None and t.requires_grad for t in tensors)


def gradients_again(
    formula: Callable[..., Tensor | Sequence[Tensor]],
    given: Sequence[Tensor | None],
    needed: Sequence[bool],
    *grads: Tensor | None,
) -> list[Tensor | None]:
    """The needed gradients by PyTorch's own operations, for those who differentiate them once more.

    Args:
        formula: the outputs from ``given``, as many as ``grads`` or more.
    """
    # each argument as a tensor of its own: one may have been computed from another, or be the same
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
