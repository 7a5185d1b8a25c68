"""When small ops may run natively outside PyTorch's dispatcher, and how their gradients are taken once more."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from anyformer import kernels

_PLAIN = frozenset((Tensor, nn.Parameter, type(None)))
_transformed: Callable[[], bool] = getattr(torch._C, "_are_functorch_transforms_active", lambda: False)


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
    formula: Callable[..., Tensor], given: Sequence[Tensor | None], needed: Sequence[bool], grad: Tensor
) -> list[Tensor | None]:
    """The needed gradients by PyTorch's own operations, for those who differentiate them once more."""
    wanted = [t for t, need in zip(given, needed, strict=True) if need and t is not None]
    found = iter(torch.autograd.grad(formula(*given), wanted, grad, create_graph=True))
    return [next(found) if need else None for need in needed]
