"""Each measurement that the laws share lets what is right pass, and catches what is not."""

from __future__ import annotations

import pytest
import torch

from anyformer.laws import LawBroken, cases_of
from anyformer.laws.faults import Sound
from anyformer.laws.measures import (
    check_exponent,
    close,
    close_in_bfloat16,
    expect_error,
    gradient_of,
    limit,
    ragged_mask,
    saved_bytes,
    weights_for,
)
from anyformer.laws.ops.cases import OpCase
from anyformer.laws.ops.measures import differentiable, everything, everything_or_refused, flat, same


def test_close_is_relative_to_the_largest_value_or_one() -> None:
    big = torch.tensor([1e6, 1.0])
    close("y", big + 5e-4, big, 1e-9)
    with pytest.raises(LawBroken, match="y: off by 1.0e-06, allowed 1e-09"):
        close("y", torch.tensor([1e-6]), torch.zeros(1))
    with pytest.raises(LawBroken, match=r"y: shape \(2,\) instead of \(1,\)"):
        close("y", torch.zeros(2), torch.zeros(1))
    with pytest.raises(LawBroken, match="y: not finite"):
        close("y", torch.tensor([torch.nan]), torch.zeros(1))
    close("y", torch.zeros(0), torch.zeros(0))


def test_bfloat16_is_compared_in_the_mean() -> None:
    expected = torch.ones(1000)
    close_in_bfloat16("y", expected.index_fill(0, torch.tensor([3]), 2.0), expected)
    with pytest.raises(LawBroken, match="y: off by 50.0% of its size"):
        close_in_bfloat16("y", 1.5 * expected, expected)


@pytest.mark.parametrize(
    "declared, figures, settled, message",
    [
        ("n", [1, 2, 4], True, None),
        ("n", [1, 2, 8], False, r"grow like n\^2.00 from 32 to 64, declared 'n'"),
        ("n^2", [1, 2, 4], True, r"grow like n\^1.00 only, declared 'n\^2'"),
        ("n^2", [1, 2, 4], False, None),
        ("none", [0, 0, 0], True, None),
    ],
)
def test_exponents(declared: str, figures: list[float], settled: bool, message: str | None) -> None:
    if message is None:
        check_exponent("bytes", declared, [16, 32, 64], figures, settled)
    else:
        with pytest.raises(LawBroken, match=message):
            check_exponent("bytes", declared, [16, 32, 64], figures, settled)


def test_an_error_must_be_of_the_right_class_and_name_its_cause() -> None:
    def fails(error: Exception) -> None:
        raise error

    expect_error("a wrong x", "x ", lambda: fails(ValueError("x must be 3, got 4")), "4")
    for call, message in (
        (lambda: None, "a wrong x: no error"),
        (lambda: fails(TypeError("x must be 3")), "raised TypeError instead of ValueError"),
        (lambda: fails(ValueError("wrong")), "the message does not name 'x'"),
    ):
        with pytest.raises(LawBroken, match=message):
            expect_error("a wrong x", "x ", call)


def test_what_a_forward_keeps_for_its_backward_is_counted_once() -> None:
    (case,) = cases_of(Sound)
    mixer = case.mixer(torch.float32)
    few, many = (saved_bytes(mixer, case.sample(mixer, 1, T, dtype=torch.float32)) for T in (64, 128))
    assert 64 * 16 * 4 <= few < many < 2.1 * few


def test_helpers() -> None:
    mask = ragged_mask(3, 10)
    assert mask.shape == (3, 10) and not mask[0, :5].any() and mask.any()
    y = torch.zeros(2, 3, requires_grad=True)
    assert torch.equal(weights_for(y), weights_for(y)) and len(weights_for(y).unique()) == 6
    assert torch.equal(gradient_of(y), torch.zeros(2, 3))
    assert limit(Sound(4), 100) == 100


def double(x: torch.Tensor, index: torch.Tensor) -> tuple[torch.Tensor, tuple[torch.Tensor, None]]:
    if len(x) == 0:
        raise ValueError("x must have rows, got 0")
    return 2 * x, (index, None)


def test_all_results_of_a_call_are_found() -> None:
    tensors = {"x": torch.ones(2, dtype=torch.float64), "index": torch.arange(2)}
    found = everything(OpCase("double", "", double, tensors), tensors)
    assert set(found) == {
        "output 0 without gradient",
        "output 1 without gradient",
        "output 0",
        "output 1",
        "whether there is a gradient",
        "gradient of x",
    }
    assert differentiable(tensors["x"]) and not differentiable(tensors["index"])
    assert [len(t) for t in flat(double(**tensors))] == [2, 2] and flat(None) == []
    empty = {"x": torch.ones(0, dtype=torch.float64), "index": torch.arange(0)}
    assert everything_or_refused(OpCase("double", "", double, empty)) is None


@pytest.mark.parametrize(
    "other, message",
    [
        ({}, "y is there once only"),
        ({"y": torch.ones(2, dtype=torch.float32)}, "y is torch.float64"),
        ({"y": torch.ones(3, dtype=torch.float64)}, r"\(2,\) instead of"),
        ({"y": torch.tensor([1.0, 1.001], dtype=torch.float64)}, "y is off by"),
        ({"y": torch.tensor([1.0, torch.nan], dtype=torch.float64)}, "y is off by"),
    ],
)
def test_results_must_be_the_same(other: dict[str, torch.Tensor], message: str) -> None:
    mine = {"y": torch.ones(2, dtype=torch.float64)}
    same("twice", mine, {"y": mine["y"] + 1e-12})
    with pytest.raises(LawBroken, match=message):
        same("twice", mine, other)
