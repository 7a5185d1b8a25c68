"""The law of errors: a wrong input is refused with a message that names it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from anyformer.contract import Call, Context, Mixer
from anyformer.laws.case import Case, SampleInputs
from anyformer.laws.measures import (
    expect_error,
    limit,
)
from anyformer.laws.registry import register_law


@register_law("errors")
@torch.no_grad()
def errors(case: Case) -> bool:
    """Wrong input raises a ``ValueError`` that names the argument and the value received."""
    mixer = case.mixer()
    sample = case.sample(mixer, 2, limit(mixer, 7))
    x, D = sample.x, mixer.dim

    def given(x: Tensor, **kwargs: Any) -> Any:
        return lambda: mixer(x, context=kwargs.pop("context", sample.context), call=sample.call(), **kwargs)

    expect_error("x of the wrong width", "x ", given(torch.cat([x, x], -1)), str(2 * D))
    expect_error("x of two axes", "x ", given(x[0]))
    expect_error("x of integers", "x ", given(x.long()))
    if list(mixer.parameters()):
        expect_error("x of another dtype", "x ", given(x.float()))
    expect_error("a mask of the wrong shape", "mask ", given(x, mask=x.new_ones(2, 3, dtype=torch.bool)))
    expect_error("a mask of floats", "mask ", given(x, mask=x.new_ones(x.shape[:2])))
    expect_error("a mask that is no tensor", "mask ", given(x, mask=[[True] * x.shape[1]] * 2))
    expect_error("a mask of negative numbers", "mask ", given(x, mask=-x.new_ones(x.shape[:2]).long()), "-1")
    expect_error("positions of the wrong shape", "positions ", given(x, positions=x.new_ones(2, 3)))
    expect_error("positions that are complex", "positions ", given(x, positions=1j * x[..., 0]))
    _side_errors(mixer, sample)
    if mixer.info.context:
        expect_error("no context", "context ", lambda: mixer(x, call=sample.call()))
    else:
        expect_error("a context", "context ", given(x, context=Context(x)))
    if mixer.info.causal:
        expect_error("a state of another batch", "state ", lambda: sample.stream(mixer, mixer.init_state(3)))
    else:
        expect_error("init_state", "stream", lambda: mixer.init_state(2))
    if case.reject is not None:
        expect_error("an unknown option", "no_such_option", case.reject)
    return True


def _side_errors(mixer: Mixer, sample: SampleInputs) -> None:
    """Check the errors for unknown side inputs, for wrong shapes and kinds, and for functions beside a mask."""
    (B, T), x = sample.x.shape[:2], sample.x
    mask = torch.ones(B, T, dtype=torch.bool, device=x.device)

    def given(side: dict[str, Any], mask: Tensor | None = None) -> Any:
        return lambda: mixer(x, mask=mask, context=sample.context, call=Call(side={**sample.side, **side}))

    expect_error("a side input that it does not take", "no_such_side", given({"no_such_side": x}))
    for name, kind in mixer.info.side.items():
        behind = (1,) * kind.axes
        places = {"sample": (B,), "token": (B, T), "pair": (B, T, T)}[kind.of]
        expect_error(
            "a side input of another batch", name, given({name: x.new_ones(2 * B, *places[1:], *behind)})
        )
        expect_error("a side input of more axes", name, given({name: x.new_ones(*places, *behind, T)}))
        expect_error("a side input that is a list", name, given({name: [[0.0] * T] * B}))
        if kind.of == "token":
            expect_error("a side input of fewer tokens", name, given({name: x.new_ones(B, T - 1, *behind)}))
        if kind.of == "pair":
            expect_error("a function beside a mask", name, given({name: lambda q, k: q == k}, mask))
        else:
            expect_error("a function", name, given({name: lambda q, k: q == k}))
