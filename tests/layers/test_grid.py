from __future__ import annotations

import pytest
import torch

from anyformer.layers.grid import coordinates, fold, read_grid, unfold


def test_a_grid_is_named_by_its_later_axes() -> None:
    assert read_grid(8) == (8,) and read_grid("4x8") == (4, 8) and read_grid([2, 3]) == (2, 3)
    for wrong in (0, "ax8", [], True, "4x-1", 2.5):
        with pytest.raises(ValueError, match="grid must be the sizes of all axes but the first"):
            read_grid(wrong)  # type: ignore[arg-type]


def test_coordinates_count_in_raster_order() -> None:
    index = torch.arange(2 * 3 * 4)[None]
    expected = torch.cartesian_prod(torch.arange(2), torch.arange(3), torch.arange(4))
    torch.testing.assert_close(coordinates(index, (3, 4))[0], expected)


@pytest.mark.parametrize("length", [0, 1, 11, 12, 25])
def test_folding_and_back(length: int) -> None:
    x = torch.randn(2, length, 5)
    grid = fold(x, (3, 4))
    assert grid.shape == (2, -(-length // 12), 3, 4, 5)
    torch.testing.assert_close(unfold(grid, length, (3, 4)), x)
    assert float(grid.sum()) == pytest.approx(float(x.sum()), abs=1e-4)
    for t, (a, b, c) in enumerate(coordinates(torch.arange(length)[None], (3, 4))[0].tolist()):
        torch.testing.assert_close(grid[:, a, b, c], x[:, t])
