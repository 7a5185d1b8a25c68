"""Stacks: what is known of them by their sublayers, and factors on the sublayers' outputs."""

from __future__ import annotations

import pytest
import torch

from anyformer.contract import MixerInfo, SideInput
from anyformer.mixers import create_mixer
from anyformer.stack import Stack
from anyformer.stack._stack import combine


def test_reaches_add_up_and_the_fastest_growth_counts() -> None:
    shared = {"b": SideInput("sample")}
    window = MixerInfo(reach=(3, 1), cost="n", memory="n", state="constant", side=shared, max_length=64)
    global_ = MixerInfo(
        reach=(None, 0), cost="n^2", memory="n log n", side={**shared, "a": SideInput()}, context=True
    )
    limited = MixerInfo(reach=(2, 0), cost="n log n", state="n", max_length=16, grid=True)
    found = combine([window, limited])
    assert (found.reach, found.cost, found.memory, found.state) == ((5, 1), "n log n", "n", "n")
    assert (found.side, found.max_length, found.grid, found.context) == (shared, 16, True, False)
    found = combine([window, global_])
    assert (found.reach, found.cost, found.memory, found.state) == ((None, 1), "n^2", "n log n", "constant")
    assert (found.side, found.max_length, found.grid, found.context) == (
        {**shared, "a": SideInput()},
        64,
        False,
        True,
    )
    assert combine([]).reach == (0, 0)


def test_steps_are_factors_on_the_outputs() -> None:
    mixers = [create_mixer("retention", 8) for _ in range(2)]
    stack = Stack(8, [[m] for m in mixers], norm="none", last_norm=False, steps=[0.5, -2.0]).eval()
    x = torch.randn(2, 5, 8)
    first = x + 0.5 * mixers[0](x)
    torch.testing.assert_close(stack(x), first - 2 * mixers[1](first))


def test_errors() -> None:
    layers = [[create_mixer("retention", 8)]]
    with pytest.raises(ValueError, match="layers must have width 4, got retention of width 8"):
        Stack(4, layers)
    with pytest.raises(ValueError, match=r"steps must be 1 numbers, one a sublayer, got \[1.0, 2.0\]"):
        Stack(8, layers, steps=[1.0, 2.0])
