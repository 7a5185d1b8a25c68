"""Laws of PyTorch's transforms of a module: compilation, checkpointing and derivatives."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from anyformer.laws.case import Case
from anyformer.laws.measures import (
    LENGTH,
    close,
    gradient_of,
    limit,
    weights_for,
)
from anyformer.laws.registry import register_law
from anyformer.ops import use_definition

BACKEND = "aot_eager"
"""What follows the trace of ``torch.compile``: the traces of the forward and the backward pass, op by op."""


@register_law("compilation")
def compilation(case: Case) -> bool:
    """``torch.compile(fullgraph=True)`` gives the outputs of eager mode."""
    mixer = case.mixer(torch.float32)
    sample = case.sample(mixer, 2, limit(mixer, LENGTH), dtype=torch.float32)
    torch._dynamo.reset()
    try:
        compiled: Any = torch.compile(mixer, fullgraph=True, backend=BACKEND, dynamic=False)
        close("compiled output", sample.forward(compiled), sample.forward(mixer), 1e-5)
    finally:
        torch._dynamo.reset()
    return True


@register_law("checkpointing")
def checkpointing(case: Case) -> bool:
    """Under ``torch.utils.checkpoint`` (not reentrant), outputs and gradients in training are the same."""
    for dtype, tolerance in (
        (torch.float64, 1e-9),
        (torch.float32, 1e-5),
    ):  # ops have different paths for each
        _checkpointed(case, dtype, tolerance)
    return True


def _checkpointed(case: Case, dtype: torch.dtype, tolerance: float) -> None:
    mixer = case.mixer(dtype, train=True)
    sample = case.sample(mixer, 2, limit(mixer, LENGTH), dtype=dtype)
    found = []
    for run in (lambda f, x: f(x), lambda f, x: checkpoint(f, x, use_reentrant=False)):
        mixer.zero_grad(set_to_none=True)
        torch.manual_seed(0)  # both runs draw the same random numbers
        x = sample.x.clone().requires_grad_()
        y = run(lambda x: sample.with_x(x).forward(mixer), x)
        (y * weights_for(y)).sum().backward()
        found.append({"output": y, "gradient of x": gradient_of(x)})
        found[-1] |= {f"gradient of {n}": gradient_of(p) for n, p in mixer.named_parameters()}
    for what, expected in found[0].items():
        close(f"{what} under a checkpoint", found[1][what], expected, tolerance)


REFUSALS = ("forward", "jvp", "tangent", "functorch", "differentiat", "derivative")
"""Words, one of which must be in the message of an error that refuses a derivative."""


@register_law("transforms")
def transforms(case: Case) -> bool:
    """Tangents by ``torch.func.jvp`` and gradients of gradients are right or raise an error, but are never wrong."""
    mixer = case.mixer()
    sample = case.sample(mixer, 2, limit(mixer, 9))
    weights = {"x": sample.x, **dict(mixer.named_parameters())}
    names, values = list(weights), [w.detach() for w in weights.values()]
    tangents = [weights_for(v) for v in values]

    def run(*values: Tensor) -> Tensor:
        given = dict(zip(names, values, strict=True))
        x = given.pop("x")
        return torch.func.functional_call(
            mixer, given, (x,), {"context": sample.context, "call": sample.call()}
        )

    leaf = [v.clone().requires_grad_() for v in values]
    y = run(*leaf)
    w = weights_for(y)
    grads = torch.autograd.grad((y * w).sum(), leaf, allow_unused=True, materialize_grads=True)
    expected = torch.stack([(g * t).sum() for g, t in zip(grads, tangents, strict=True)]).sum()
    tangent = _or_refused(lambda: torch.func.jvp(run, tuple(values), tuple(tangents))[1])
    if tangent is not None:
        close("tangent of the output, times weights, against backward", (tangent * w).sum(), expected, 1e-8)
    _gradients_of_gradients(run, values, tangents, w)
    return True


def _gradients_of_gradients(
    run: Callable[..., Tensor], values: list[Tensor], tangents: list[Tensor], w: Tensor
) -> None:
    """Check the gradient of a directional derivative against the definition, which consists of PyTorch's operations."""

    def slope() -> Tensor:
        leaf = [v.clone().requires_grad_() for v in values]
        y = run(*leaf)
        grads = torch.autograd.grad((y * w).sum(), leaf, create_graph=True, allow_unused=True)
        along = [(g * t).sum() for g, t in zip(grads, tangents, strict=True) if g is not None]
        total = torch.stack(along).sum()
        if not total.requires_grad:
            return torch.zeros_like(total)
        again = torch.autograd.grad(total, leaf, allow_unused=True, materialize_grads=True)
        return torch.stack([(g * t).sum() for g, t in zip(again, tangents, strict=True)]).sum()

    found = _or_refused(slope)
    if found is None:
        return
    with use_definition():
        close("gradient of the gradient against the definition's", found, slope(), 1e-6)


def _or_refused(run: Callable[[], Tensor]) -> Tensor | None:
    """Return the result, or None if an error says that the derivative does not exist."""
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*has no second derivative")  # PyTorch then raises an error
            return run()
    except (RuntimeError, NotImplementedError, ValueError) as error:
        if not any(word in str(error) for word in REFUSALS):
            raise
        return None
