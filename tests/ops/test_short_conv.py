from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import conv1d, pad

from anyformer.ops.short_conv import short_conv


def make(T: int, W: int = 4, D: int = 5, dtype: torch.dtype = torch.float64) -> dict[str, Tensor]:
    torch.manual_seed(0)
    return {
        "x": torch.randn(2, T, D, dtype=dtype),
        "weight": torch.randn(D, W, dtype=dtype),
        "bias": torch.randn(D, dtype=dtype),
        "past": torch.randn(2, W - 1, D, dtype=dtype),
    }


@pytest.mark.parametrize("T", [1, 2, 3, 17, 64, 65, 131])
@pytest.mark.parametrize("activation", [None, "silu"])
def test_fast_form_is_the_definition(agrees, T, activation):
    agrees(short_conv, activation=activation, **make(T))


@pytest.mark.parametrize("W, D", [(1, 3), (2, 32), (3, 33), (7, 100), (70, 2)])
def test_widths_and_channels(agrees, W, D):
    agrees(short_conv, activation="silu", **make(67, W, D))
    agrees(short_conv, **make(3, W, D))


@pytest.mark.parametrize("absent", [("bias",), ("past",), ("bias", "past")])
def test_absent_arguments(agrees, absent):
    parts = {name: part for name, part in make(70).items() if name not in absent}
    agrees(short_conv, activation="silu", **parts)


def test_rows_inside_wider_rows(agrees):
    wide = torch.randn(2, 70, 12, dtype=torch.float64)
    agrees(lambda wide, **rest: short_conv(wide[:, :, 3:8], **rest), wide=wide, **{**rest_of(70)})
    agrees(lambda wide, **rest: short_conv(wide[:, :, 1:11:2], **rest), wide=wide, **rest_of(70))


def rest_of(T: int) -> dict[str, Tensor]:
    return {name: part for name, part in make(T).items() if name != "x"}


def test_it_is_a_depthwise_convolution():
    parts = make(9)
    joined = pad(parts["x"], (0, 0, 3, 0))
    expected = conv1d(joined.mT, parts["weight"][:, None], parts["bias"], groups=5).mT
    torch.testing.assert_close(short_conv(parts["x"], parts["weight"], parts["bias"]), expected)


def test_float32_tolerance(agrees):
    agrees(short_conv, 2e-6, activation="silu", **make(200, D=70, dtype=torch.float32))


def test_large_sums_stay_finite(agrees):
    parts = make(70)
    parts["x"] *= 1e3
    agrees(short_conv, activation="silu", **parts)


def test_half_precision_sums_in_float32():
    narrow = {name: part.bfloat16() for name, part in make(40).items()}
    y = short_conv(activation="silu", **narrow)
    exact = short_conv(activation="silu", **{name: part.double() for name, part in narrow.items()})
    assert y.dtype == torch.bfloat16
    torch.testing.assert_close(y.double(), exact, rtol=2**-8, atol=1e-6)


def test_no_tokens():
    assert short_conv(**make(0)).shape == (2, 0, 5)


def test_compiles_as_one_graph():
    parts = {name: part.requires_grad_() for name, part in make(20).items()}
    compiled = torch.compile(lambda parts: short_conv(**parts), fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(parts), short_conv(**parts))


def test_errors():
    parts = make(4)
    with pytest.raises(ValueError, match=r"weight must have shape \(5, W\)"):
        short_conv(parts["x"], parts["weight"].mT)
    with pytest.raises(ValueError, match=r"past must have shape \(2, 3, 5\), got \(2, 2, 5\)"):
        short_conv(**{**parts, "past": parts["past"][:, 1:]})
    with pytest.raises(ValueError, match="activation must be 'silu' or None, got 'relu'"):
        short_conv(**parts, activation="relu")
    with pytest.raises(ValueError, match=r"x must have shape \(B, T, D\)"):
        short_conv(parts["x"][0], parts["weight"])
