from __future__ import annotations

import pytest
import torch

from anyformer.ops.long_conv import long_conv, long_conv_nd


def make(T: int, L: int, dtype: torch.dtype = torch.float64) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return {
        "x": torch.randn(2, 3, T, dtype=dtype),
        "kernel": torch.randn(3, L, dtype=dtype),
        "skip": torch.randn(3, dtype=dtype),
    }


@pytest.mark.parametrize("T", [1, 2, 7, 8, 63, 65])
@pytest.mark.parametrize("L", [1, 5, 63, 101])
@pytest.mark.parametrize("causal", [True, False])
def test_fast_form_is_the_definition(agrees, T, L, causal):
    agrees(long_conv, causal=causal, **make(T, L))


@pytest.mark.parametrize("T", [1, 3, 40])
@pytest.mark.parametrize("P", [0, 1, 90])
def test_with_a_past(agrees, T, P):
    agrees(long_conv, past=torch.randn(2, 3, P, dtype=torch.float64), **make(T, 60))


def test_float32_tolerance(agrees):
    agrees(long_conv, 1e-5, **make(130, 130, torch.float32))


def test_pieces_chained_are_the_whole():
    parts = make(100, 100)
    x = parts.pop("x")
    y = long_conv(x, **parts)
    pieces, start = [], 0
    for stop in (1, 1, 3, 60, 100):
        pieces.append(long_conv(x[..., start:stop], **parts, past=x[..., :start]))
        start = stop
    torch.testing.assert_close(torch.cat(pieces, -1), y, rtol=1e-9, atol=1e-9)


def test_no_tokens():
    assert long_conv(**make(0, 5)).shape == (2, 3, 0)


def test_half_precision():
    parts = make(100, 100, torch.bfloat16)
    y = long_conv(**parts)
    exact = long_conv(**{k: v.double() for k, v in parts.items()})
    assert y.dtype == torch.bfloat16
    torch.testing.assert_close(y.double(), exact, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("causal", [True, False])
def test_compiles_as_one_graph(causal):
    parts = make(70, 33)
    compiled = torch.compile(
        lambda parts: long_conv(**parts, causal=causal), fullgraph=True, backend="aot_eager"
    )
    torch.testing.assert_close(compiled(parts), long_conv(**parts, causal=causal))


def test_errors():
    parts = make(4, 4)
    with pytest.raises(ValueError, match="odd length"):
        long_conv(**parts, causal=False)
    with pytest.raises(ValueError, match="kernel must have shape"):
        long_conv(parts["x"], parts["kernel"][:2])
    with pytest.raises(ValueError, match="past must be None"):
        long_conv(parts["x"], parts["kernel"][:, :3], causal=False, past=parts["x"])


@pytest.mark.parametrize(
    "sizes, lags", [((7,), (5,)), ((4, 5), (3, 9)), ((1, 6), (5, 1)), ((2, 3, 4), (3, 3, 3))]
)
@pytest.mark.parametrize("causal", [True, False])
def test_grids(agrees, sizes, lags, causal):
    x, kernel = torch.randn(2, 3, *sizes).double(), torch.randn(3, *lags).double()
    agrees(long_conv_nd, x=x, kernel=kernel, skip=torch.randn(3).double(), causal=causal)


@pytest.mark.parametrize("causal", [True, False])
def test_a_grid_of_one_axis_is_a_sequence(causal):
    parts = make(20, 41)
    torch.testing.assert_close(long_conv_nd(**parts, causal=causal), long_conv(**parts, causal=causal))


def test_grids_refused():
    x = torch.randn(1, 3, 4, 4)
    with pytest.raises(ValueError, match=r"kernel must have shape \(3, 2 numbers of lags\), got \(3, 4\)"):
        long_conv_nd(x, torch.randn(3, 4))
    with pytest.raises(ValueError, match="kernel must have odd sizes where causal=False"):
        long_conv_nd(x, torch.randn(3, 4, 3), causal=False)
