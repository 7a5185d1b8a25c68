"""Block sizes for the products of a mask spec."""

from __future__ import annotations

from anyformer.ops.attention import tiles
from anyformer.ops.masks import Product


def band_shape(product: Product, T: int, S: int) -> tuple[int, int, int] | None:
    """Return (query blocks, queries per block, keys per block) for each residue class, or None if dense is as good."""
    past, future, step = product.past, product.future, product.step
    if past is None or future is None:
        return None
    reach = past // step + future // step
    columns = columns_of(T, step)
    C = min(max(16, min(256, _power_of_two(reach))), columns)
    if C + reach >= columns_of(S, step) and step == 1:
        return None
    return -(-columns // C), C, C + reach


def blocks_of(product: Product, heads: int, T: int, S: int, ordered: bool) -> list[tuple[int, int, int, int]]:
    """Return (start, stop, low, high) for each block: a range of queries, and the range of keys in its reach."""
    rows = max(1, min(T, tiles.TILE_ELEMENTS // (heads * S)))
    if rows >= T:
        return [(0, T, 0, S)]
    blocks = []
    for start in range(0, T, rows):
        stop, low, high = min(start + rows, T), 0, S
        if ordered and product.past is not None:
            low = max(0, S - T + start - product.past)
        if ordered and product.future is not None:
            high = min(S, S - T + stop + product.future)
        blocks.append((start, stop, low, high))
    return blocks


def rows_of(product: Product) -> int:
    """Return the number of residue classes mod step that have visible pairs."""
    return product.step if product.residue is None else 1


def columns_of(T: int, step: int) -> int:
    """Return the number of columns that any T consecutive numbers fit in."""
    return (T + step - 2) // step + 1


def _power_of_two(n: int) -> int:
    return 1 << max(0, n - 1).bit_length()
